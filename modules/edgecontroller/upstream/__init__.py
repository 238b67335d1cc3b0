"""From the edge nodes to the Kubernetes API (controller/upstream.go)."""
