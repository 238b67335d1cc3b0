"""What the routes work on: the fleet, the verbs that change it, and the open streams."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.admin.http import Request
from supervisor.admin.streams import Streams
from supervisor.fleet.control import Control
from supervisor.fleet.fleet import Fleet
from supervisor.fleet.shutdown import Shutdown

MakeControl = Callable[[Callable[[], bool]], Control]
"""makes the verbs for one client; the argument tells whether it has closed its connection"""


class Backend:
    """What the handlers of requests work on."""

    def __init__(self, fleet: Fleet, make_control: MakeControl, shutdown: Shutdown) -> None:
        self.fleet = fleet
        self.shutdown = shutdown
        self._make_control = make_control
        self._streams = {True: Streams(), False: Streams()}

    def streams(self, request: Request) -> Streams:
        """Return the streams of trusted or of untrusted clients.

        Each kind has its own limit, so that untrusted clients cannot starve trusted ones.
        """
        return self._streams[request.trusted]

    def control(self, request: Request) -> Control:
        """Return the verbs, on behalf of the client of a request."""
        return self._make_control(request.gone)

    def close(self) -> None:
        """End the streams."""
        for streams in self._streams.values():
            streams.close()
