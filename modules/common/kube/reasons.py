"""The reasons of Kubernetes Events and of conditions: one word for programs, and its meaning."""

from __future__ import annotations

import enum
from typing import Final, Self

_DEVICE: Final = "Event and condition `Accepted` of a Device"


class Reason(enum.StrEnum):
    """A reason; `of` says what has it, `meaning` what it says."""

    of: str
    meaning: str

    def __new__(cls, word: str, of: str, meaning: str) -> Self:
        """Make a member that is the word itself."""
        self = str.__new__(cls, word)
        self._value_ = word
        self.of = of
        self.meaning = meaning
        return self

    INVALID = (
        "InvalidObject",
        "Event of any object, condition `Accepted` of a Device",
        "the object, or a message of the edge, is set aside; its text says what is wrong",
    )
    INTERNAL = (
        "InternalError",
        "Event of any object, condition `Accepted` of a Device",
        "a bug in cloudcore for which the object is set aside; the log has the traceback",
    )
    CONNECTED = ("EdgeConnected", "Event of a Node", "the edge has connected")
    DISCONNECTED = ("EdgeDisconnected", "Event of a Node", "the connection of the edge has ended")
    NOT_READY = (
        "NodeNotReady",
        "Event of a Node",
        "the node has reported no status for node_monitor_grace_period (embedded API server only)",
    )
    STATUS_UNKNOWN = (
        "NodeStatusUnknown",
        "conditions of a Node",
        "the same: its conditions are Unknown until it reports again",
    )
    AUTO_APPROVED = (
        "AutoApproved",
        "condition `Approved` of a CertificateSigningRequest",
        "the serving certificate of an edge, for that edge alone",
    )
    ACCEPTED = ("Accepted", "condition `Accepted` of a Device", "the device is valid")
    NO_NODE = ("NoNode", _DEVICE, "the device names no node")
    UNKNOWN_NODE = (
        "UnknownNode",
        _DEVICE,
        "there is no such node; the device is sent to it when it connects",
    )
    OTHER_VERSION = (
        "OtherVersion",
        _DEVICE,
        "the edge of its node knows devices of the other API version only",
    )
    NO_MODEL = ("NoModel", _DEVICE, "the device (of v1beta1) names no DeviceModel")
    UNKNOWN_MODEL = (
        "UnknownModel",
        _DEVICE,
        "there is no such DeviceModel; the device waits until there is one",
    )
    INVALID_MODEL = ("InvalidModel", _DEVICE, "its DeviceModel is set aside")
    NAME_TAKEN = (
        "NameTaken",
        _DEVICE,
        "an edge of KubeEdge 1.1 or 1.15 has a device of that name from another namespace",
    )
