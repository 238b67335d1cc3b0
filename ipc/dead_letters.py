"""Messages set aside: handling them has ended the module too often, or they cannot be read.

One file for each letter, so that it outlives everything and needs no lock: the name is its id,
the content is JSON with the encoded message in it. Only people remove letters: their number is
bounded by what each one costs, `max_deliveries` deaths of a module under a restart policy.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from pathlib import Path
from typing import Final, Protocol

import msgspec

from ipc.errors import ChannelError, UnknownDeadLetter
from ipc.files import replace_file
from ipc.message import Message, decode, decode_envelope
from ipc.ring.layout import SLOTS

#: The slot that a replay sends through: the last one that a module would be given.
_SLOT: Final = SLOTS - 1


class ReplayTarget(Protocol):
    """Where a letter is replayed to: the part of a Channel that this needs."""

    name: str

    def put(
        self, message: Message, block: bool = ..., timeout: float | None = ..., *, prefer_slot: int
    ) -> None: ...


class DeadLetter(msgspec.Struct, frozen=True):
    """What is kept of a message that was set aside.

    `id` is made from the channel and the encoded message: the same one set aside again has the
    same. `at` is in seconds since the epoch, `deliveries` how many processes died with it,
    `size` and `payload` are of its encoding, base64. The texts from `message_id` on are empty
    if it is here because it cannot be read.
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
        """Decode the message; NotAMessage if that is why it is here."""
        return decode(base64.b64decode(self.payload))


class DeadLetterBox:
    """A directory of dead letters, made when the first one comes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, channel: str, payload: bytes, *, deliveries: int, reason: str) -> DeadLetter:
        """Write a letter, whole or not at all; it is on the disk on return."""
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

    def letters(self) -> list[DeadLetter]:
        """All letters, oldest first."""
        found = [_read(path) for path in self.directory.glob("[!.]*.json")]
        return sorted(
            (letter for letter in found if letter is not None), key=lambda letter: letter.at
        )

    def get(self, letter_id: str) -> DeadLetter:
        """Read one letter; UnknownDeadLetter if there is none of that id."""
        letter = _read(self._path(letter_id))
        if letter is None:
            raise self._unknown(letter_id)
        return letter

    def drop(self, letter_id: str) -> None:
        """Remove a letter for good; UnknownDeadLetter if there is none of that id."""
        try:
            self._path(letter_id).unlink()
        except FileNotFoundError:
            raise self._unknown(letter_id) from None

    def replay(
        self, letter_id: str, channel: ReplayTarget, timeout: float | None = 30.0
    ) -> Message:
        """Put the message back on its channel, as one that was never delivered.

        The letter is removed once the message is safely in the channel. A process killed between
        the two leaves both: at least once, as everywhere. Errors: UnknownDeadLetter, NotAMessage
        if it cannot be read, ChannelError for another channel than it came from, and those of
        `Channel.put`; after an error the letter is where it was.
        """
        letter = self.get(letter_id)
        if channel.name != letter.channel:
            raise ChannelError(
                f"dead letter {letter_id!r} is for {letter.channel!r}, not for {channel.name!r}"
            )
        message = letter.message()
        channel.put(message, timeout=timeout, prefer_slot=_SLOT)
        self.drop(letter_id)
        return message

    def _path(self, letter_id: str) -> Path:
        if not re.fullmatch(r"\w[\w.-]*", letter_id):  # nothing that leads out of the directory
            raise self._unknown(letter_id)
        return self.directory / f"{letter_id}.json"

    def _unknown(self, letter_id: str) -> UnknownDeadLetter:
        return UnknownDeadLetter(f"no dead letter {letter_id!r} is in {self.directory}")


def _letter_id(channel: str, payload: bytes) -> str:
    name = re.sub(r"[^\w.-]", "_", channel).lstrip(".-") or "channel"
    return f"{name}-{hashlib.sha256(payload).hexdigest()[:12]}"


def _read(path: Path) -> DeadLetter | None:
    """Read a letter's file; None if it is gone, which another process may see to any time."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=DeadLetter)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ChannelError(f"{path} is no dead letter: {error}; remove the file") from error
