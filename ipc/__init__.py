"""How modules talk to one another: messages, channels and the context (beehive's words)."""

from ipc.async_context import AsyncContext, open_contexts
from ipc.channel import Channel, ChannelState, ChannelStatistics
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
    UnknownModule,
)
from ipc.message import Message
from ipc.receiving import Delivery
from ipc.registry import Registry

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
    "Message",
    "MessageTooLarge",
    "ModuleUnavailable",
    "NotAMessage",
    "Registry",
    "Timeout",
    "UnknownModule",
    "open_contexts",
]
