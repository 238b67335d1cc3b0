"""Devices of devices.kubeedge.io/v1beta1: those of KubeEdge 1.15 to 1.23."""
