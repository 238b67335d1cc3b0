"""Messages set aside: handling them has ended the module too often, or they cannot be read.

One file for each letter, so that it outlives everything and needs no lock: the name is the
time and the channel, the content is JSON beside the encoded message itself.
"""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import msgspec

from ipc.message import Message, decode


class DeadLetter(msgspec.Struct, frozen=True):
    """What is kept of a message that was set aside; `payload` is its encoding, base64."""

    id: str
    channel: str
    at: float
    deliveries: int
    reason: str
    payload: str

    def message(self) -> Message:
        """Decode the message; NotAMessage if that is why it is here."""
        return decode(base64.b64decode(self.payload))


class DeadLetterBox:
    """A directory of dead letters, made when the first one comes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, channel: str, payload: bytes, *, deliveries: int, reason: str) -> DeadLetter:
        """Write a letter, whole or not at all."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = time.time()
        letter = DeadLetter(
            id=f"{channel or 'channel'}-{int(now * 1e6):x}-{os.getpid():x}",
            channel=channel,
            at=now,
            deliveries=deliveries,
            reason=reason,
            payload=base64.b64encode(payload).decode("ascii"),
        )
        temporary = self.directory / f".{letter.id}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(letter))
        temporary.rename(self.directory / f"{letter.id}.json")
        return letter

    def letters(self) -> list[DeadLetter]:
        """All letters, oldest first."""
        found = [
            msgspec.json.decode(path.read_bytes(), type=DeadLetter)
            for path in self.directory.glob("*.json")
        ]
        return sorted(found, key=lambda letter: letter.at)

    def drop(self, letter_id: str) -> None:
        """Remove a letter for good."""
        (self.directory / f"{letter_id}.json").unlink()
