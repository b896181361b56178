"""The tests are tested: each of the wrong servers in `broken/` is caught by the test named for it."""

import importlib
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import peer
import pytest
import target
from peer import Peer

from stages import disconnects, serve
from stages.arguments import trial_settings
from stages.beyond import replies

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.py"))


class Bench:
    """What the tests ask for, of one class of servers."""

    def __init__(self, server: type[serve.Handler], folder: Path) -> None:
        self.server = server
        self.settings = trial_settings(server, str(folder))
        self.running = AsyncExitStack()

    async def start(self) -> target.Address:
        await self.running.aclose()
        server = self.server(**self.settings)
        self.there = "127.0.0.1", await self.running.enter_async_context(serve.listening(server, "127.0.0.1", 0))
        return self.there

    async def connect(self) -> Peer:
        peer = await Peer.connect(*self.there, speaks_json=issubclass(self.server, replies.Server))
        self.running.callback(peer.close)
        return peer

    async def restart(self) -> Peer:
        await self.start()
        return await self.connect()

    async def run(self, test: Callable[..., Awaitable[None]]) -> None:
        try:
            tools = {"connect": self.connect, "restart": self.restart, "address": await self.start()}
            await test(**{name: tools[name] for name in inspect.signature(test).parameters})
        finally:
            await self.running.aclose()


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
async def test_a_broken_server_is_caught_by_its_test(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    module_name, _, test_name = target.load(f"{path}:CAUGHT_BY").partition(".")
    test = getattr(importlib.import_module(module_name), test_name)
    broken = target.load(str(path))
    sound = broken.__base__ if issubclass(broken, replies.Server) else disconnects.Server
    await Bench(sound, tmp_path_factory.mktemp("sound")).run(test)
    monkeypatch.setattr(peer, "PATIENCE", 0.5)
    with pytest.raises(AssertionError):
        await Bench(broken, tmp_path_factory.mktemp("broken")).run(test)


def test_there_are_at_least_twenty() -> None:
    assert len(BROKEN) >= 20
