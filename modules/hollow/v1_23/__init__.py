"""What is the own of an edge of KubeEdge 1.15 to 1.23, whose edged is a kubelet.

metamanager      stores pushes, asks the cloud, acknowledges   (edge/pkg/metamanager)
client           the Kubernetes API as edged sees it           (edge/pkg/metamanager/client)
edged            starts and stops the parts below              (edge/pkg/edged, kubelet)
node, lease      registration, status and lease of the Node
pods, volumes    the lives of pods, and what they wait for
status_manager   reports the pods' statuses, and deletes pods that have terminated
status           Node and Pod statuses
strategic        strategic merge patches
devicetwin       devices and models, and who gets them         (edge/pkg/devicetwin)
twins            the list of devices, their twins and states
mapper           the devices themselves
join             the edge's certificate, by a token            (edge/pkg/edgehub/certificate)
"""
