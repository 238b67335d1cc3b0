"""The exceptions of channels and contexts, one for each cause."""

import queue


class ChannelError(Exception):
    """Base class of all exceptions of channels and contexts."""


class UnknownModule(ChannelError):
    """No such module or group is registered, or the sender is the only member of the group."""


class ModuleUnavailable(ChannelError):
    """The module is registered, but is not going to read: it is stopped, failed or disabled."""


class ChannelFull(ChannelError, queue.Full, TimeoutError):
    """The channel stayed full until the timeout; the message was not sent."""


class Timeout(ChannelError, TimeoutError):
    """No message, or no answer, arrived within the timeout."""


class Closed(ChannelError):
    """The channel was closed in this process, or the module was asked to stop."""


class MessageTooLarge(ChannelError, ValueError):
    """The message is larger than a channel carries; it was not sent."""


class UnknownDeadLetter(ChannelError, LookupError):
    """There is no dead letter with this id in the directory."""


class NotAMessage(ChannelError, TypeError):
    """The object put or read is not a Message, or its content is not JSON-like."""
