"""The CustomResourceDefinitions of devices.kubeedge.io."""
