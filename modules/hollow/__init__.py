"""A hollow edge: a simulated edge node that speaks KubeEdge's protocol as a real one does.

    link          the websocket connection: dial, keepalive, redial      (edge/pkg/edgehub)
    store         what the edge has stored                               (edge/pkg/metamanager/dao)
    v1_1          metaManager, edged and deviceTwin of KubeEdge 1.1
    v1_23         metamanager, edged and devicetwin of KubeEdge 1.15 to 1.23
    edge          HollowEdge, which connects them
    demo          a whole cloudcore with hollow edges, for `make demo` and tests

No container runs and nothing is stored on disk, so that one process can simulate thousands.
"""
