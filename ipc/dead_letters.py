"""Dead letters: poison messages, and messages that cannot be decoded.

Each letter is one file, so that it survives every process and needs no lock: the name is its id,
the content is JSON that includes the encoded message. Only the operator removes letters. Their
number is not limited: each one costs `max_deliveries` crashes of a module with a restart policy.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections import Counter
from pathlib import Path
from typing import Final, Protocol

import msgspec

from ipc.errors import ChannelError, NotAMessage, UnknownDeadLetter
from ipc.files import replace_file
from ipc.message import Message, decode, decode_envelope
from ipc.ring.layout import SLOTS

#: The slot that a replay sends through: the last one that a module would claim.
_SLOT: Final = SLOTS - 1
_FILES: Final = "[!.]*.json"


class ReplayTarget(Protocol):
    """The part of a Channel that a replay needs."""

    name: str

    def put(
        self, message: Message, block: bool = ..., timeout: float | None = ..., *, prefer_slot: int
    ) -> None: ...


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that was set aside, and why.

    `id` is derived from the channel and the encoded message: a message that is set aside twice has
    the same id. `at` is in seconds since the epoch, `deliveries` the number of processes that
    died with it, `size` the bytes of the encoded message, and `payload` that message in base64. The
    strings from `message_id` on are empty if the message cannot be decoded. So is the payload if
    the letter's file is damaged; then `at` is when that was written.
    """

    id: str
    channel: str
    at: float
    deliveries: int
    reason: str
    message_id: str
    source: str
    group: str
    operation: str
    resource: str
    size: int
    payload: str

    def message(self) -> Message:
        """Decode the message. Raises NotAMessage if it cannot be decoded."""
        try:
            return decode(base64.b64decode(self.payload, validate=True))
        except binascii.Error as error:
            raise NotAMessage(f"cannot decode its payload: {error}") from error


class DeadLetterBox:
    """A directory of dead letters, created with the first letter."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, channel: str, payload: bytes, *, deliveries: int, reason: str) -> DeadLetter:
        """Write a letter atomically; it is on the disk on return. Raises OSError."""
        told = decode_envelope(payload)
        letter = DeadLetter(
            id=_letter_id(channel, payload),
            channel=channel,
            at=time.time(),
            deliveries=deliveries,
            reason=reason,
            message_id=told.id,
            source=told.source,
            group=told.group,
            operation=told.operation,
            resource=told.resource,
            size=len(payload),
            payload=base64.b64encode(payload).decode("ascii"),
        )
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._path(letter.id), msgspec.json.encode(letter))
        return letter

    def counts(self) -> Counter[str]:
        """Return the number of letters by channel, from the names of the files alone."""
        return Counter(map(_channel_of, self.directory.glob(_FILES)))

    def letters(self) -> list[DeadLetter]:
        """Return all letters, oldest first; a damaged file is a letter whose reason says so."""
        found = [_read(path) for path in self.directory.glob(_FILES)]
        return sorted(
            (letter for letter in found if letter is not None), key=lambda letter: letter.at
        )

    def get(self, letter_id: str) -> DeadLetter:
        """Read one letter. Raises UnknownDeadLetter."""
        letter = _read(self._path(letter_id))
        if letter is None:
            raise self._unknown(letter_id)
        return letter

    def drop(self, letter_id: str) -> None:
        """Delete a letter. Raises UnknownDeadLetter."""
        try:
            self._path(letter_id).unlink()
        except FileNotFoundError:
            raise self._unknown(letter_id) from None

    def replay(
        self, letter_id: str, channel: ReplayTarget, timeout: float | None = 30.0
    ) -> Message:
        """Put the message back into its channel, as one that was never delivered.

        The letter is deleted when the message is in the channel. A process killed between the
        two leaves both: delivery is at least once. Raises UnknownDeadLetter, NotAMessage if the
        message cannot be decoded, ChannelError if it came from another channel, and what
        `Channel.put` raises; the letter is kept then.
        """
        letter = self.get(letter_id)
        if channel.name != letter.channel:
            raise ChannelError(
                f"cannot replay dead letter {letter_id!r} to {channel.name!r}: "
                f"it is for {letter.channel!r}"
            )
        message = letter.message()
        channel.put(message, timeout=timeout, prefer_slot=_SLOT)
        self.drop(letter_id)
        return message

    def _path(self, letter_id: str) -> Path:
        if not re.fullmatch(r"\w[\w.-]*", letter_id):  # no path out of the directory
            raise self._unknown(letter_id)
        return self.directory / f"{letter_id}.json"

    def _unknown(self, letter_id: str) -> UnknownDeadLetter:
        return UnknownDeadLetter(f"no dead letter {letter_id!r} in {self.directory}")


def _letter_id(channel: str, payload: bytes) -> str:
    name = re.sub(r"[^\w.-]", "_", channel).lstrip(".-") or "channel"
    return f"{name}-{hashlib.sha256(payload).hexdigest()[:12]}"


def _read(path: Path) -> DeadLetter | None:
    """Read a letter's file; None if it is gone, since any process may delete it at any time."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=DeadLetter)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError) as error:
        return _damaged(path, getattr(error, "strerror", None) or str(error))


def _damaged(path: Path, reason: str) -> DeadLetter | None:
    """Return what is left of a letter whose file cannot be read, so that it can be dropped."""
    try:
        at = path.lstat().st_mtime
    except FileNotFoundError:
        return None
    text = f"cannot read {path}: {reason}; drop it"
    return DeadLetter(path.stem, _channel_of(path), at, 0, text, "", "", "", "", "", 0, "")


def _channel_of(path: Path) -> str:
    return path.stem.rpartition("-")[0]
