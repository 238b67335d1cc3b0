"""The CSI plugin of an edge, without volumes, and edged's part in what the cloud asks of it.

After processVolume (edge/pkg/metamanager), handleVolume (edge/pkg/edged) and csi-hostpath. Edged
does not answer a request that fails; metamanager sends an answer without content after a minute.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ipc import Message
from modules.hollow.events import Emit

Json = dict[str, Any]

OPERATIONS: Final = (
    "createvolume", "deletevolume", "controllerpublishvolume", "controllerunpublishvolume",
)  # fmt: skip


class _Request(msgspec.Struct, rename="camel"):
    """The fields of the four requests, as protobuf's JSON has them: 64-bit numbers are strings."""

    name: str = ""
    volume_id: str = ""
    node_id: str = ""
    capacity_range: dict[str, str] = {}
    parameters: dict[str, str] = {}


class CsiPlugin:
    """Carries out the requests to one edge; `volumes` are by their ids, and outlive the plugin."""

    def __init__(
        self,
        volumes: dict[str, Json],
        send: Callable[[Message], None],
        emit: Emit,
        patience: float,
    ) -> None:
        self._volumes = volumes
        self._send = send
        self._emit = emit
        self._patience = patience
        self._late: set[asyncio.TimerHandle] = set()

    def handle(self, message: Message) -> None:
        """Carry out a request of the cloud, and answer."""
        try:
            request = msgspec.json.decode(message.content or "", type=_Request)
            result = self._carry_out(message.operation, request)
        except (msgspec.MsgspecError, LookupError, ValueError) as error:
            self._emit("volume failed", message.resource, f"{message.operation}: {error!r}")
            later = asyncio.get_running_loop().call_later(self._patience, self._give_up, message)
            self._late.add(later)
            return
        self._emit("volume", message.resource, message.operation)
        self._send(message.response(result))

    def stop(self) -> None:
        """Answer nothing any more."""
        for timer in self._late:
            timer.cancel()

    def _give_up(self, message: Message) -> None:
        self._send(message.response(None))

    def _carry_out(self, operation: str, request: _Request) -> Json:
        """Return the response, as encoding/json writes the Go structure of CSI."""
        match operation:
            case "createvolume":
                return {"volume": self._create(request)}
            case "deletevolume":
                self._volumes.pop(request.volume_id, None)
            case "controllerpublishvolume":
                self._volumes[request.volume_id]["published"] = request.node_id
            case _:
                self._volumes[request.volume_id].pop("published", None)
        return {}

    def _create(self, request: _Request) -> Json:
        """Create the volume of a name, or return that which is there."""
        volume_id = str(uuid.uuid5(uuid.NAMESPACE_OID, request.name))
        wanted = int(request.capacity_range.get("requiredBytes", "0"))
        made = {
            "capacity_bytes": wanted,
            "volume_id": volume_id,
            "volume_context": request.parameters,
        }
        volume = {key: value for key, value in made.items() if value}
        self._volumes.setdefault(volume_id, {"name": request.name})
        return volume
