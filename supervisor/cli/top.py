"""`cloudcore top`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from supervisor import client
from supervisor.cli.asking import asking, socket_of
from supervisor.cli.commands import Command, option
from supervisor.cli.options import Globals, directory_options, output_option
from supervisor.cli.text_table import width_of_output
from supervisor.cli.top_state import TopState
from supervisor.cli.views import Row, View, as_json, read, sample, views_of


@click.command(cls=Command)
@option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    metavar="SECONDS",
    help="Interval between two samples.",
)
@option("--count", type=click.IntRange(min=1), metavar="N", help="Exit after N samples.")
@option("--view", default="modules", metavar="NAME", help="modules, channels, edges ...")
@option("--sort", default="", metavar="COLUMN", show_default=False, help="Sort by this column.")
@option(
    "--filter",
    "filter_",
    default="",
    metavar="TEXT",
    show_default=False,
    help="Show only rows that contain TEXT.",
)
@output_option("table")
@directory_options
@click.pass_obj
def top(
    options: Globals,
    *,
    interval: float,
    count: int | None,
    view: str,
    sort: str,
    filter_: str,
    output: str,
) -> None:
    """Show live what modules, channels and edges use and handle.

    On a terminal, keys choose the view, the order and a filter; the last line names them. Numbers
    are sorted from the largest on. With -o json, each line is one sample.
    """
    with asking():
        socket = socket_of(options)
        status = client.request(socket, "GET", "/status")
        sampler = _Sampler(socket, interval)
        state = TopState(_view(view, views_of(status)), sort, filter_)
        if sort and not state.sort:
            titles = ", ".join(column.title for column in state.view.columns)
            raise click.UsageError(f"no column {sort!r} in the view {view} (columns: {titles})")
        if output != "json" and sys.stdout.isatty():
            _live(sampler, state, count)
            return
        for rows in sampler.samples(state.view, count):
            arranged = state.arrange(rows)
            if output == "json":
                click.echo(json.dumps([as_json(state.view, row) for row in arranged]))
            else:
                click.echo("\n".join(state.table(arranged, width_of_output())))


def _view(name: str, views: list[View]) -> View:
    for view in views:
        if view.name == name:
            return view
    raise click.UsageError(f"no view {name!r} (views: {', '.join(each.name for each in views)})")


class _Sampler:
    """Takes samples of a view, `interval` seconds from one to the next."""

    def __init__(self, socket: Path, interval: float) -> None:
        self._socket = socket
        self.interval = interval
        self.views: list[View] = []
        self._before: tuple[str, list[Row], float] = ("", [], 0.0)

    def take(self, view: View) -> list[Row]:
        """Return a sample; rates are those since the last one of this view, at first 0."""
        status: dict[str, Any] = client.request(self._socket, "GET", "/status")
        self.views = views_of(status)
        rows, now = read(view, status, self._socket.parent), time.monotonic()
        name, before, then = self._before
        self._before = (view.name, rows, now)
        if name != view.name:
            before, then = rows, now - self.interval
        return sample(view, rows, before, now - then)

    def samples(self, view: View, count: int | None) -> Iterator[list[Row]]:
        """Yield `count` samples, without end if that is None, until Ctrl-C."""
        try:
            self.take(view)
            while count is None or count > 0:
                time.sleep(self.interval)
                yield self.take(view)
                count = None if count is None else count - 1
        except KeyboardInterrupt:
            return


def _live(sampler: _Sampler, state: TopState, count: int | None) -> None:
    """Draw samples in place until `q`, Ctrl-C, or `count` of them."""
    from supervisor.cli.screen import Screen

    with Screen() as screen:

        def draw(rows: list[Row]) -> None:
            width = width_of_output() or 80
            screen.draw(state.screen(rows, sampler.views, width, screen.height))

        try:
            while count is None or count > 0:
                until = time.monotonic() + sampler.interval
                view, rows = state.view, sampler.take(state.view)
                draw(rows)
                for key in screen.keys(until):
                    if key == "q" and not state.editing:
                        return
                    state.press(key, sampler.views)
                    if state.view != view:
                        break
                    draw(rows)
                count = None if count is None else count - 1
        except KeyboardInterrupt:
            return
