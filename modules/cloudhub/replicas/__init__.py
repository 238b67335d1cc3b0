"""CloudHub as one of several replicas: its own Lease, and the Leases of the nodes that it holds."""
