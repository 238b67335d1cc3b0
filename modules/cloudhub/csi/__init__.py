"""The CSI drivers of edges: their socket, and the requests that edges carry out for them.

    provisioner, attacher --gRPC--> KubeEdge's CSI driver, one for each edge
                                        | one request and its answer per connection (server.py)
                                    CloudHub's Unix socket
                                        | one request at a time per node (../questions.py)
                                    edgecore --gRPC--> the CSI plugin on the edge

The driver is cloud/pkg/csidriver, and the same for edges of KubeEdge 1.1 and of today.
"""
