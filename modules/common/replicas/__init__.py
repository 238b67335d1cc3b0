"""Several cloudcores that serve one fleet: docs/explanation/replicas.md."""
