"""A hollow edge: a simulated edge node that speaks KubeEdge's v1.1 protocol as a real one does.

    link          the websocket connection: dial, keepalive, redial      (edge/pkg/edgehub)
    metamanager   stores what comes, answers OK, asks for what is missing (edge/pkg/metamanager)
    edged         "runs" pods: node status and pod status go up           (edge/pkg/edged)
    devicetwin    devices and their twins                                 (edge/pkg/devicetwin)
    edge          HollowEdge, which puts the four together

Nothing is run and nothing is stored on disk, so that one process has room for thousands.
"""
