"""A module of cloudcore: whoever connects and says a name is greeted, and written down."""

from __future__ import annotations

from pydantic import Field

from supervisor.api import CannotStart, Listener, Module, ModuleConfig, ModuleContext, Settings


class GuestbookConfig(ModuleConfig):
    greeting: str = "Welcome"
    address: str = "127.0.0.1"
    port: int = Field(default=10099, ge=0, le=65535)


class Guestbook(Module):
    name = "guestbook"
    group = "guestbook"
    preload = ("uvloop", "guestbook.serving")
    Config = GuestbookConfig
    config: GuestbookConfig

    @classmethod
    def listeners(cls, config: GuestbookConfig, settings: Settings) -> dict[str, Listener]:
        return {"guests": Listener(config.address, config.port)}

    async def start(self, context: ModuleContext) -> None:
        from guestbook.serving import Book, serve

        try:
            book = Book(self.settings.data_dir / "guestbook.txt")
        except OSError as error:
            raise CannotStart(f"cannot read {error.filename}: {error.strerror}") from error
        await serve(context, book, self.config.greeting)
