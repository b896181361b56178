"""The tests are tested: each of the wrong servers in `broken/` is caught by the claim named for it,
and no claim is without one."""

import importlib
from collections.abc import Iterator
from typing import Any

import peer
import pytest
from claim_bench import PAGES, Bench, claims_of
from matrix import JSON_SINCE, MODULES, NAMES

from stages import disconnects, serve
from stages.beyond import broker

pytestmark = pytest.mark.slow


def wrong_servers() -> Iterator[tuple[str, Any]]:
    """The page and the class of each."""
    for stage in PAGES:
        for thing in vars(importlib.import_module(f"broken.{stage}")).values():
            if isinstance(thing, type) and "claim" in vars(thing):
                yield stage, thing


WRONG = list(wrong_servers())


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
