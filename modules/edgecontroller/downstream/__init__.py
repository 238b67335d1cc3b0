"""From the Kubernetes API to the edge nodes (controller/downstream.go)."""
