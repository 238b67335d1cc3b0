"""The systems that bench/ipc.py measures, each with the same operations.

Each system carries the same ipc.Message, which the sender encodes for each send and the receiver
decodes (MessagePack; multiprocess.Queue always pickles). `many` is a system's own means for several
messages at once, or else a list.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import msgspec
import multiprocess
from multiprocess.connection import wait

from ipc import ChannelRegistry, Context, Message
from ipc.message import decode, decode_batch, encode

MANY = 64

Send = Callable[[Message], None]
SendMany = Callable[[list[Message]], None]
Receive = Callable[[], Message]
ReceiveMany = Callable[[], list[Message]]

encode_list = msgspec.msgpack.Encoder().encode


class Cloudcore:
    """cloudcore's channels, through the public interface: a module's context."""

    name = "cloudcore"
    count = 200_000

    def __init__(self, senders: int) -> None:
        self._registry = ChannelRegistry()
        for module in ("reader", *(f"sender-{i}" for i in range(senders))):
            self._registry.add_module(module)

    def sender(self, index: int) -> Send:
        send = Context(self._registry, f"sender-{index}").send
        return lambda message: send("reader", message)

    def receiver(self) -> Receive:
        return Context(self._registry, "reader").receive

    def sender_of_many(self) -> SendMany:
        send_many = Context(self._registry, "sender-0").send_many
        return lambda messages: send_many("reader", messages)

    def receiver_of_many(self) -> ReceiveMany:
        return Context(self._registry, "reader").receive_many

    def asker(self) -> Callable[[Message], Message]:
        context = Context(self._registry, "sender-0")
        return lambda message: context.send_sync("reader", message)

    def answer(self) -> None:
        context = Context(self._registry, "reader")
        for message in context:
            context.send_resp(message.response(message.content))

    def close(self) -> None:
        pass


class Queue:
    name = "multiprocess.Queue"
    count = 4000

    def __init__(self, _senders: int) -> None:
        self._queue: Any = multiprocess.Queue(1024)
        self._answers: Any = multiprocess.Queue(1024)

    def sender(self, _index: int) -> Send:
        put: Send = self._queue.put
        return put

    def receiver(self) -> Receive:
        get: Receive = self._queue.get
        return get

    def sender_of_many(self) -> SendMany:
        put: SendMany = self._queue.put
        return put

    def receiver_of_many(self) -> ReceiveMany:
        get: ReceiveMany = self._queue.get
        return get

    def asker(self) -> Callable[[Message], Message]:
        def ask(message: Message) -> Message:
            self._queue.put(message)
            answer: Message = self._answers.get()
            return answer

        return ask

    def answer(self) -> None:
        while True:
            message = self._queue.get()
            self._answers.put(message.response(message.content))

    def close(self) -> None:
        for queue in (self._queue, self._answers):
            queue.close()
            queue.join_thread()


class Pipe:
    """One pipe for each sender: two writers of one would mix their bytes."""

    name = "multiprocess.Pipe"
    count = 40_000

    def __init__(self, senders: int) -> None:
        self._pipes = [multiprocess.Pipe() for _ in range(senders)]

    def sender(self, index: int) -> Send:
        send = self._pipes[index][1].send_bytes
        return lambda message: send(encode(message))

    def receiver(self) -> Receive:
        ends = [ends[0] for ends in self._pipes]
        if len(ends) == 1:
            receive = ends[0].recv_bytes
            return lambda: decode(receive())

        def received() -> Iterator[Message]:
            while True:
                for end in wait(ends):
                    yield decode(end.recv_bytes())

        return received().__next__

    def sender_of_many(self) -> SendMany:
        send = self._pipes[0][1].send_bytes
        return lambda messages: send(encode_list(messages))

    def receiver_of_many(self) -> ReceiveMany:
        receive = self._pipes[0][0].recv_bytes
        return lambda: decode_batch(receive())

    def asker(self) -> Callable[[Message], Message]:
        end = self._pipes[0][1]

        def ask(message: Message) -> Message:
            end.send_bytes(encode(message))
            return decode(end.recv_bytes())

        return ask

    def answer(self) -> None:
        end = self._pipes[0][0]
        while True:
            message = decode(end.recv_bytes())
            end.send_bytes(encode(message.response(message.content)))

    def close(self) -> None:
        for ends in self._pipes:
            for end in ends:
                end.close()


class Zmq:
    name = "pyzmq"
    count = 100_000

    def __init__(self, _senders: int) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._address = f"ipc://{self._directory.name}/socket"
        self._sockets: list[Any] = []

    def _socket(self, kind: str, *, bind: bool) -> Any:
        import zmq

        socket = zmq.Context().socket(getattr(zmq, kind))
        (socket.bind if bind else socket.connect)(self._address)
        self._sockets.append(socket)
        return socket

    def sender(self, _index: int) -> Send:
        send = self._socket("PUSH", bind=False).send
        return lambda message: send(encode(message))

    def receiver(self) -> Receive:
        receive = self._socket("PULL", bind=True).recv
        return lambda: decode(receive())

    def sender_of_many(self) -> SendMany:
        send = self._socket("PUSH", bind=False).send
        return lambda messages: send(encode_list(messages))

    def receiver_of_many(self) -> ReceiveMany:
        receive = self._socket("PULL", bind=True).recv
        return lambda: decode_batch(receive())

    def asker(self) -> Callable[[Message], Message]:
        socket = self._socket("REQ", bind=False)

        def ask(message: Message) -> Message:
            socket.send(encode(message))
            return decode(socket.recv())

        return ask

    def answer(self) -> None:
        socket = self._socket("REP", bind=True)
        while True:
            message = decode(socket.recv())
            socket.send(encode(message.response(message.content)))

    def close(self) -> None:
        for socket in self._sockets:
            socket.context.destroy(linger=0)
        self._directory.cleanup()


class FasterFifo:
    name = "faster-fifo"
    count = 40_000

    def __init__(self, _senders: int) -> None:
        import faster_fifo

        self._queues = [
            faster_fifo.Queue(8 * 1024 * 1024, loads=lambda data: decode(bytes(data)), dumps=encode)
            for _ in range(2)
        ]

    def sender(self, _index: int) -> Send:
        put = self._queues[0].put
        return lambda message: put(message, timeout=30)

    def receiver(self) -> Receive:
        def received() -> Iterator[Message]:
            while True:
                yield from self._queues[0].get_many(timeout=30)

        return received().__next__

    def sender_of_many(self) -> SendMany:
        put_many = self._queues[0].put_many
        return lambda messages: put_many(messages, timeout=30)

    def receiver_of_many(self) -> ReceiveMany:
        get_many = self._queues[0].get_many
        return lambda: get_many(timeout=30)

    def asker(self) -> Callable[[Message], Message]:
        there, back = self._queues

        def ask(message: Message) -> Message:
            there.put(message, timeout=30)
            answer: Message = back.get(timeout=30)
            return answer

        return ask

    def answer(self) -> None:
        there, back = self._queues
        while True:
            message = there.get(timeout=30)
            back.put(message.response(message.content), timeout=30)

    def close(self) -> None:
        for queue in self._queues:
            queue.close()


# faster-fifo has no wheel for Python 3.14.
_FASTER_FIFO = [FasterFifo] if find_spec("faster_fifo") else []

SYSTEMS: list[Any] = [Cloudcore, Zmq, *_FASTER_FIFO, Pipe, Queue]
