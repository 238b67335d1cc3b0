"""What is an edge of KubeEdge 1.1's own: metaManager, edged, and the statuses it reports."""
