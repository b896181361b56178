"""What the claims ask for, to be asked of any one class of servers."""

import importlib
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import target
from matrix import NAMES
from peer import Peer

from stages import serve
from stages.beyond import replies
from stages.settings import trial_settings

CLAIM_TOOLS = {"connect", "address", "restart"}
"""A test that uses one of these is a claim: it judges whatever server it is given."""


PAGES = NAMES[: NAMES.index("fast")]  # which adds nothing that a client can see


def claims_of(stage: str) -> dict[str, Callable[..., Awaitable[None]]]:
    tests = vars(importlib.import_module(f"test_{stage}")).items()
    return {
        name: test
        for name, test in tests
        if name.startswith("test_") and CLAIM_TOOLS & set(inspect.signature(test).parameters)
    }


class Bench:
    """What the tests ask for, of one class of servers."""

    def __init__(self, server: Any, folder: Path, speaks_json: bool | None = None, **access: Any):
        self.server = server
        if speaks_json is None:
            speaks_json = issubclass(server, replies.Server)
        self.access = {"speaks_json": speaks_json} | access
        self.settings = trial_settings(server, str(folder)) if isinstance(server, type) else {}
        self.running = AsyncExitStack()

    async def start(self) -> target.Address:
        await self.running.aclose()
        server = self.server(**self.settings)
        by_itself = getattr(server, "listening", None)
        listening = by_itself() if by_itself else serve.listening(server, "127.0.0.1", 0)
        self.there = "127.0.0.1", await self.running.enter_async_context(listening)
        return self.there

    async def connect(self) -> Peer:
        peer = await Peer.connect(*self.there, **self.access)
        self.running.callback(peer.close)
        return peer

    async def restart(self) -> Peer:
        await self.start()
        return await self.connect()

    async def run(self, test: Callable[..., Awaitable[None]], relay: Any = None) -> None:
        """Run a claim; one that opens connections of its own may do so through a relay."""
        try:
            address = await self.start()
            if relay:
                through = await self.running.enter_async_context(relay(*address))
                address = address[0], through.port
            tools = {"connect": self.connect, "restart": self.restart, "address": address}
            await test(**{name: tools[name] for name in inspect.signature(test).parameters})
        finally:
            await self.running.aclose()
