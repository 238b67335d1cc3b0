"""`cloudcore dead-letters`."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click

from supervisor import client
from supervisor.cli import words
from supervisor.cli.asking import (
    EXIT_FAILED,
    asking,
    from_running,
    print_json,
    socket_of,
    timeout_option,
)
from supervisor.cli.options import CheckedGroup, Globals, directory_options, output_option
from supervisor.cli.text_table import align, width_of_output


@click.group("dead-letters", cls=CheckedGroup)
@directory_options
def dead_letters() -> None:
    """List, replay or delete messages that were set aside.

    A message that crashed its module max_deliveries times becomes a dead letter: a file in the data
    directory, until it is replayed or dropped.
    """


@dead_letters.command("list")
@output_option("table")
@directory_options
@click.pass_obj
def list_(options: Globals, output: str) -> None:
    """List dead letters, oldest first."""
    letters = _all(options)
    if output == "json":
        print_json([_document(letter) for letter in letters])
        return
    if not letters:
        click.echo("no dead letters")
        return
    columns = ("ID", "FOR", "WHEN", "DEATHS", "FROM", "OPERATION", "SIZE", "RESOURCE")
    rows = [
        {
            "ID": letter.id,
            "FOR": letter.channel,
            "WHEN": words.when(letter.at),
            "DEATHS": str(letter.deliveries),
            "FROM": words.printable(letter.source),
            "OPERATION": words.printable(letter.operation),
            "SIZE": words.size(letter.size),
            "RESOURCE": words.printable(letter.resource),
        }
        for letter in letters
    ]
    for line in align(columns, rows, wrapped="RESOURCE", width=width_of_output()):
        click.echo(line)


@dead_letters.command()
@click.argument("letter_id", metavar="ID")
@output_option("text")
@directory_options
@click.pass_obj
def show(options: Globals, letter_id: str, output: str) -> None:
    """Show one dead letter with the content of its message."""
    document = _document(_get(options, letter_id))
    if output == "json":
        print_json(document)
        return

    document["at"] = words.when(document["at"])
    for name, value in document.items():
        click.echo(f"{name + ':':<12} {words.printable(str(value))}")


@dead_letters.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@timeout_option(5.0)
@output_option("text")
@directory_options
@click.pass_obj
def replay(options: Globals, ids: tuple[str, ...], timeout: float, output: str) -> None:
    """Send dead letters to their module again, as if for the first time."""

    def replay_one(letter_id: str) -> None:
        target = f"/dead-letters/{quote(letter_id, safe='')}/replay"
        with asking():
            letter = client.request(socket_of(options), "POST", target, timeout=timeout)
        if output == "json":
            print_json(letter)
        else:
            click.echo(f"{letter_id}: sent to {letter['channel']}")

    _each(ids, replay_one)


@dead_letters.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@output_option("text")
@directory_options
@click.pass_obj
def drop(options: Globals, ids: tuple[str, ...], output: str) -> None:
    """Delete dead letters."""

    def drop_one(letter_id: str) -> None:
        letter = _drop(options, letter_id)
        if output == "json":
            print_json(_document(letter))
        else:
            click.echo(f"{letter_id}: dropped")

    _each(ids, drop_one)


def _each(ids: tuple[str, ...], act: Callable[[str], None]) -> None:
    """Do something with each letter; one with which it cannot be done stops no other."""
    failed = False
    for letter_id in ids:
        try:
            act(letter_id)
        except click.ClickException as error:
            error.show()
            failed = True
    if failed:
        sys.exit(EXIT_FAILED)


def _box(options: Globals) -> Any:
    from ipc import DeadLetterBox

    return DeadLetterBox(options.paths().dead_letters_dir)


def _all(options: Globals) -> list[Any]:
    import msgspec

    from ipc import DeadLetter

    found = from_running(options, "GET", "/dead-letters")
    return _box(options).letters() if found is None else msgspec.convert(found, list[DeadLetter])


def _get(options: Globals, letter_id: str) -> Any:
    found = _from_running(options, "GET", letter_id)
    return _read(options, letter_id) if found is None else found


def _drop(options: Globals, letter_id: str) -> Any:
    letter = _from_running(options, "DELETE", letter_id)
    if letter is None:
        letter = _read(options, letter_id)
        _box(options).drop(letter_id)
    return letter


def _from_running(options: Globals, method: str, letter_id: str) -> Any:
    import msgspec

    from ipc import DeadLetter

    found = from_running(options, method, f"/dead-letters/{quote(letter_id, safe='')}")
    return None if found is None else msgspec.convert(found, DeadLetter)


def _read(options: Globals, letter_id: str) -> Any:
    from ipc import UnknownDeadLetter

    try:
        return _box(options).get(letter_id)
    except UnknownDeadLetter as error:
        raise click.ClickException(str(error)) from error


def _document(letter: Any) -> dict[str, Any]:
    """Return a letter as a document, with the content in place of the encoded message."""
    import msgspec

    from ipc import NotAMessage

    document: dict[str, Any] = msgspec.to_builtins(letter)
    payload = document.pop("payload")
    try:
        content = letter.message().content
    except NotAMessage as error:
        return document | {"undecodable": str(error), "payload": payload}
    if isinstance(content, bytes):
        return document | {"content_base64": base64.b64encode(content).decode()}
    return document | {"content": content}
