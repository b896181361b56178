"""Several servers of a cluster that pass for one."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from claim_bench import claims_of
from histories import state_of

from stages import serve
from stages.beyond import cluster
from stages.beyond.log.replica import Replica
from stages.beyond.server.connection import Connection

numbers = itertools.count()


def whole_state(of: Replica) -> list[Any]:
    return [of.number, of.clock, sorted(of.members.items()), state_of(of.broker)]


def in_turn(count: int, **settings: Any) -> type[serve.Handler]:
    class InTurn:
        """Several servers that pass for one."""

        connection_class = Connection

        def __init__(self) -> None:
            self.servers = [cluster.Server(**settings) for _ in range(count)]
            self.turns = itertools.cycle(self.servers)

        async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
            await next(self.turns).handle_client(reader, client)

        async def __aenter__(self) -> None:
            for server in self.servers:
                await server.__aenter__()

        async def __aexit__(self, *failure: object) -> None:
            for server in self.servers:
                await server.__aexit__(*failure)

    return InTurn


PAGES = (
    "basic",
    "delivery",
    "caching",
    "last_seen",
    "replies",
    "slow_consumers",
    "acks",
    "durable",
)


HELD_UP = {
    "test_a_subscriber_that_does_not_read_is_disconnected",
    "test_a_subscriber_that_was_too_slow_gets_no_more_work",
}
"""What must hold only if the sender is at the same server: others are not held up."""


def shared_claims(servers: int) -> Iterator[Any]:
    for page in PAGES:
        for name, claim in claims_of(page).items():
            marks = {mark.name for mark in getattr(claim, "pytestmark", ())}
            if "until" not in marks and not (servers > 1 and name in HELD_UP):
                yield pytest.param(page, name, servers, id=f"{name}-{servers}")
