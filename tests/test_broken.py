"""The tests are tested: each of the wrong servers in `broken/` is caught by the test named for it."""

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import peer
import pytest
import target
from conftest import Connect
from peer import Peer

from stages import disconnects, serve

BROKEN = sorted((Path(__file__).parent / "broken").glob("*.py"))


@asynccontextmanager
async def connecting_to(server: serve.Handler) -> AsyncIterator[Connect]:
    peers: list[Peer] = []
    async with serve.listening(server, "127.0.0.1", 0) as port:

        async def connect() -> Peer:
            peers.append(await Peer.connect("127.0.0.1", port))
            return peers[-1]

        yield connect
        for peer in peers:
            peer.close()


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
async def test_a_broken_server_is_caught_by_its_test(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module_name, _, test_name = target.load(f"{path}:CAUGHT_BY").partition(".")
    test = getattr(importlib.import_module(module_name), test_name)
    async with connecting_to(disconnects.Server()) as connect:
        await test(connect)
    monkeypatch.setattr(peer, "PATIENCE", 0.5)
    async with connecting_to(target.load(str(path))()) as connect:
        with pytest.raises(AssertionError):
            await test(connect)


def test_there_are_at_least_twenty() -> None:
    assert len(BROKEN) >= 20
