"""What the module does; imported once by the supervisor, before it forks."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from supervisor.api import ModuleContext

#: Seconds that a guest has to say a name.
PATIENCE = 10.0


class Book:
    """The guests so far: a file with a name in each line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.guests = len(path.read_bytes().splitlines()) if path.exists() else 0

    def add(self, name: str) -> None:
        """Write a name down; when this returns, no death of a process loses it."""
        with self.path.open("a") as file:
            file.write(f"{name}\n")
            file.flush()
            os.fsync(file.fileno())
        self.guests += 1


async def serve(context: ModuleContext, book: Book, greeting: str) -> None:
    """Greet guests, and answer messages with their number, until asked to stop."""

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                name = (await reader.readline()).decode(errors="replace").strip()
                book.add(name)
                context.report(guests=book.guests)
                writer.write(f"{greeting}, {name}! You are guest {book.guests}.\n".encode())
                await writer.drain()
        except (TimeoutError, ConnectionError):
            pass  # the guest has gone
        finally:
            writer.close()

    server = await asyncio.start_server(welcome, sock=context.sockets["guests"])
    try:
        context.report(guests=book.guests)
        context.ready()
        async for message in context:
            await context.send_resp(message.response(book.guests))
    finally:
        server.close()
