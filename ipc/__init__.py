"""How modules talk to one another: messages, channels and the context (beehive's words)."""

from ipc.async_context import AsyncContext, open_contexts
from ipc.channel import Channel, ChannelState
from ipc.context import Context
from ipc.deadletters import DeadLetter, DeadLetterBox
from ipc.errors import (
    ChannelError,
    ChannelFull,
    Closed,
    MessageTooLarge,
    ModuleUnavailable,
    NotAMessage,
    Timeout,
    UnknownDeadLetter,
    UnknownModule,
)
from ipc.inhand import InHand
from ipc.message import Message
from ipc.receiving import Delivery
from ipc.registry import Registry
from ipc.statistics import ChannelStatistics, Histogram

__all__ = [
    "AsyncContext",
    "Channel",
    "ChannelError",
    "ChannelFull",
    "ChannelState",
    "ChannelStatistics",
    "Closed",
    "Context",
    "DeadLetter",
    "DeadLetterBox",
    "Delivery",
    "Histogram",
    "InHand",
    "Message",
    "MessageTooLarge",
    "ModuleUnavailable",
    "NotAMessage",
    "Registry",
    "Timeout",
    "UnknownDeadLetter",
    "UnknownModule",
    "open_contexts",
]
