"""A hollow edge: a simulated edge node that speaks KubeEdge's v1.1 protocol as a real one does.

    link          the websocket connection: dial, keepalive, redial      (edge/pkg/edgehub)
    metamanager   stores objects, answers OK, queries missing ones       (edge/pkg/metamanager)
    edged         "runs" pods: node status and pod status go up           (edge/pkg/edged)
    devicetwin    devices and their twins                                 (edge/pkg/devicetwin)
    edge          HollowEdge, which connects the four
    demo          a whole cloudcore with a hollow edge, for `make demo` and tests

No container runs and nothing is stored on disk, so that one process can simulate thousands.
"""
