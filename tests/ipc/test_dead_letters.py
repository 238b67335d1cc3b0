from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ipc import (
    Channel,
    ChannelError,
    ChannelFull,
    ChannelState,
    DeadLetter,
    DeadLetterBox,
    Message,
    ModuleUnavailable,
    NotAMessage,
    UnknownDeadLetter,
)
from ipc.message import encode
from ipc.ring.layout import SLOTS


def a_message(resource: str = "r", content: str = "x") -> Message:
    return Message.build("edgecontroller", "resource", "update", resource, content)


@pytest.fixture
def box(tmp_path: Path) -> DeadLetterBox:
    return DeadLetterBox(tmp_path / "letters")


def put(box: DeadLetterBox, message: Message, channel: str = "cloudhub") -> DeadLetter:
    return box.put(channel, encode(message), deliveries=3, reason="it died")


def test_a_letter_tells_what_it_is_without_its_content(box: DeadLetterBox) -> None:
    message = a_message("default/pod/p1", "y" * 1000)
    letter = put(box, message)
    assert box.get(letter.id) == letter
    assert box.letters() == [letter]
    assert (letter.channel, letter.deliveries, letter.reason) == ("cloudhub", 3, "it died")
    assert (letter.message_id, letter.resource) == (message.id, "default/pod/p1")
    assert (letter.source, letter.group, letter.operation) == (
        "edgecontroller",
        "resource",
        "update",
    )
    assert letter.size == len(encode(message))
    assert letter.message() == message


def test_letters_are_for_the_owner_only(box: DeadLetterBox) -> None:
    put(box, a_message())
    (path,) = box.directory.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(box.directory.stat().st_mode) == 0o700


def test_no_letters_are_an_empty_list(box: DeadLetterBox) -> None:
    assert box.letters() == []


def test_letters_are_listed_oldest_first(box: DeadLetterBox) -> None:
    ids = [put(box, a_message(str(number))).id for number in range(5)]
    assert [letter.id for letter in box.letters()] == ids


def test_the_same_message_set_aside_twice_is_one_letter(box: DeadLetterBox) -> None:
    """A reader may be killed between writing the letter and acknowledging the message."""
    message = a_message()
    assert put(box, message).id == put(box, message).id
    assert put(box, message, "other").id != put(box, message).id
    assert len(box.letters()) == 2


@pytest.mark.parametrize("letter_id", ["nothing-1", "", "../cloudhub", "a/b", ".hidden", "x\0y"])
def test_an_unknown_letter_is_an_error_that_names_it(box: DeadLetterBox, letter_id: str) -> None:
    put(box, a_message())
    (box.directory.parent / "cloudhub.json").touch()
    channel = Channel("cloudhub")
    for verb in (box.get, box.drop, lambda name: box.replay(name, channel)):
        with pytest.raises(UnknownDeadLetter, match="no dead letter '"):
            verb(letter_id)
    assert len(box.letters()) == 1


def test_a_dropped_letter_is_gone(box: DeadLetterBox) -> None:
    letter, other = put(box, a_message("1")), put(box, a_message("2"))
    box.drop(letter.id)
    assert box.letters() == [other]
    with pytest.raises(UnknownDeadLetter):
        box.drop(letter.id)


def test_a_replayed_message_is_as_new_and_its_letter_gone(box: DeadLetterBox) -> None:
    channel = Channel("cloudhub")
    message = a_message()
    letter = put(box, message)
    assert box.replay(letter.id, channel) == message
    assert channel.get_nowait() == message
    assert box.letters() == []
    assert channel._segment.used_slots() == [SLOTS - 1], "no module's own slot was taken"


def test_a_letter_stays_until_its_message_is_safely_in_the_channel(box: DeadLetterBox) -> None:
    channel = Channel("cloudhub", capacity=4096)
    letter = put(box, a_message(content="x" * 2000))
    while channel.try_put(a_message("full", "x" * 900), SLOTS - 1):
        pass
    with pytest.raises(ChannelFull):
        box.replay(letter.id, channel, timeout=0.01)
    channel.state = ChannelState.STOPPED
    with pytest.raises(ModuleUnavailable, match="stopped"):
        box.replay(letter.id, channel, timeout=0)
    assert box.letters() == [letter]


def test_a_letter_goes_back_only_where_it_came_from(box: DeadLetterBox) -> None:
    letter = put(box, a_message())
    with pytest.raises(ChannelError, match="to 'other': it is for 'cloudhub'"):
        box.replay(letter.id, Channel("other"))
    assert box.letters() == [letter]


def test_what_cannot_be_read_can_be_listed_and_dropped_but_not_replayed(
    box: DeadLetterBox,
) -> None:
    letter = box.put("cloudhub", b"\x93nonsense", deliveries=0, reason="not a message")
    assert (letter.message_id, letter.resource, letter.size) == ("", "", 9)
    with pytest.raises(NotAMessage):
        box.replay(letter.id, Channel("cloudhub"))
    assert box.letters() == [letter]
    box.drop(letter.id)
    assert box.letters() == []


@pytest.mark.parametrize("damage", [b"{}", b'{"id": "clou', b"\xff\xfe", b""])
def test_a_damaged_file_hides_no_other_and_can_be_dropped(
    box: DeadLetterBox, damage: bytes
) -> None:
    good, bad = put(box, a_message()), put(box, a_message("broken"))
    (box.directory / f"{bad.id}.json").write_bytes(damage)
    assert box.counts() == {"cloudhub": 2}
    found = {letter.id: letter for letter in box.letters()}
    assert found.keys() == {good.id, bad.id}
    assert found[bad.id].channel == "cloudhub"
    assert f"cannot read {box.directory}/{bad.id}.json: " in found[bad.id].reason
    with pytest.raises(NotAMessage):
        box.replay(bad.id, Channel("cloudhub"))
    box.drop(bad.id)
    assert box.letters() == [good]
    assert box.counts() == {"cloudhub": 1}


def test_a_payload_that_is_damaged_is_no_message(box: DeadLetterBox) -> None:
    letter = put(box, a_message())
    path = box.directory / f"{letter.id}.json"
    path.write_bytes(path.read_bytes().replace(b'"payload":"', b'"payload":"?'))
    with pytest.raises(NotAMessage, match="cannot decode its payload"):
        box.get(letter.id).message()


def test_a_channel_s_name_leads_nowhere(box: DeadLetterBox) -> None:
    letter = put(box, a_message(), "../up/and away")
    assert box.get(letter.id) == letter
    assert [path.parent for path in box.directory.iterdir()] == [box.directory]
