"""The tests are tested: each of the wrong servers in `broken/` is caught by the claim named for it,
and no claim is without one."""

import importlib
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import peer
import pytest
import target
from matrix import JSON_SINCE, MODULES, NAMES
from peer import Peer

from stages import disconnects, serve
from stages.beyond import broker, replies
from stages.settings import trial_settings

pytestmark = pytest.mark.slow

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


def wrong_servers() -> Iterator[tuple[str, Any]]:
    """The page and the class of each."""
    for stage in PAGES:
        for thing in vars(importlib.import_module(f"broken.{stage}")).values():
            if isinstance(thing, type) and "claim" in vars(thing):
                yield stage, thing


WRONG = list(wrong_servers())


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


def server_with(stage: str, wrong: Any) -> type[serve.Handler]:
    """A server that is wrong, or whose broker is."""
    if not issubclass(wrong, broker.Broker):
        server: type[serve.Handler] = wrong
        return server
    sound = importlib.import_module(MODULES[stage]).Server
    return type("Server", (sound,), {"broker_class": wrong})


@pytest.mark.parametrize(
    ("page", "wrong"), [pytest.param(*pair, id=pair[1].__name__) for pair in WRONG]
)
async def test_a_wrong_server_is_caught_by_its_claim(
    page: str, wrong: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    claim = claims_of(page)[wrong.claim]
    monkeypatch.setattr(peer, "PACE", 200)  # it is wrong, and not slow
    sound = (
        importlib.import_module(MODULES[page]).Server
        if NAMES.index(page) >= JSON_SINCE
        else disconnects.Server
    )
    await Bench(sound, tmp_path_factory.mktemp("sound")).run(claim)
    monkeypatch.setattr(peer, "TIMEOUT", 0.5)
    with pytest.raises(AssertionError):
        await Bench(server_with(page, wrong), tmp_path_factory.mktemp("wrong")).run(claim)


@pytest.mark.parametrize("page", PAGES)
def test_every_claim_has_a_wrong_server(page: str) -> None:
    assert set(claims_of(page)) - {wrong.claim for stage, wrong in WRONG if stage == page} == set()
