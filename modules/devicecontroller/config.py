"""`[modules.devicecontroller]` of the configuration."""

from __future__ import annotations

from pydantic import Field

from supervisor.api import ModuleConfig


class DeviceControllerConfig(ModuleConfig):
    """How much is done at a time; the names are those of KubeEdge's controller.yaml."""

    update_device_status_workers: int = Field(8, ge=1, le=256)
    """devices whose reported values are written to the API at the same time"""
    update_device_status_buffer: int = Field(1024, ge=1)
    """messages of edges that are being handled at most; beyond it they wait in the channel"""
    install_crds: bool = False
    """install the CRDs of Device and DeviceModel when the cluster lacks them"""
    profile_workers: int = Field(4, ge=1, le=256)
    """device profiles (ConfigMaps) that are written at the same time"""
