"""Messages, channels and contexts between modules, with beehive's names and operations."""

from ipc.channel import Channel, ChannelState
from ipc.contexts.asynchronous import AsyncContext, open_contexts
from ipc.contexts.blocking import Context
from ipc.dead_letters import DeadLetter, DeadLetterBox
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
from ipc.message import Message
from ipc.registry import ChannelRegistry, Mailbox
from ipc.ring.in_flight import InFlight
from ipc.ring.layout import MAX_PAYLOAD
from ipc.ring.receiver import Delivery
from ipc.ring.statistics import ChannelStatistics, Histogram

__all__ = [
    "MAX_PAYLOAD",
    "AsyncContext",
    "Channel",
    "ChannelError",
    "ChannelFull",
    "ChannelRegistry",
    "ChannelState",
    "ChannelStatistics",
    "Closed",
    "Context",
    "DeadLetter",
    "DeadLetterBox",
    "Delivery",
    "Histogram",
    "InFlight",
    "Mailbox",
    "Message",
    "MessageTooLarge",
    "ModuleUnavailable",
    "NotAMessage",
    "Timeout",
    "UnknownDeadLetter",
    "UnknownModule",
    "open_contexts",
]
