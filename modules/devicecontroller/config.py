"""`[modules.devicecontroller]` of the configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from supervisor.api import ModuleConfig


class DeviceControllerConfig(ModuleConfig):
    """Options of DeviceController, with the names of KubeEdge's controller.yaml."""

    update_device_status_workers: int = Field(8, ge=1, le=256)
    """number of devices whose reported values are written to the API concurrently"""
    update_device_status_buffer: int = Field(1024, ge=1)
    """limit of messages from edges in flight; further ones stay in the channel"""
    install_crds: bool = False
    """whether to install the CRDs of Device and DeviceModel if the cluster lacks them"""
    profile_workers: int = Field(4, ge=1, le=256)
    """number of device profiles (ConfigMaps) written concurrently"""
    record: Literal["file", "objectsync"] = "file"
    """where it is recorded what each node has of devices of v1beta1: in a file, or also as
    ObjectSyncs in the API"""
