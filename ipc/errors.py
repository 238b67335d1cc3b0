"""What can go wrong between two modules, each case an exception of its own."""

import queue


class ChannelError(Exception):
    """Base of all errors that a channel or a context raises."""


class UnknownModule(ChannelError):
    """No module of that name (or no group, or none but the sender in it) is registered."""


class ModuleUnavailable(ChannelError):
    """The module is registered but will not read: stopped, failed or disabled."""


class ChannelFull(ChannelError, queue.Full, TimeoutError):
    """The reader did not make room within the timeout; the message was not sent."""


class Timeout(ChannelError, TimeoutError):
    """Nothing arrived within the timeout."""


class Closed(ChannelError):
    """The channel was closed here, or the module is being asked to stop."""


class MessageTooLarge(ChannelError, ValueError):
    """The message is larger than a channel carries; nothing was sent."""


class UnknownDeadLetter(ChannelError, LookupError):
    """No dead letter of that id is in the directory."""


class NotAMessage(ChannelError, TypeError):
    """What was put or read is not a Message, or its content is not JSON-like."""
