"""Lesson 11: several servers on one log, which the lab takes for one."""

import asyncio
import itertools
from typing import Any

from stages.beyond import cluster
from stages.beyond.broker.topic import Client
from stages.beyond.server.connection import Connection
from stages.lab.workbench.lab import Lab

logs = itertools.count()


class Together:
    """Servers with names; whoever connects is served by the one in `door`."""

    def __init__(
        self, *names: str, kind: type[cluster.Server] = cluster.Server, **settings: Any
    ) -> None:
        self.kind = kind
        self.settings = {"engine": "memory", "log": f"lesson {next(logs)}"} | settings
        self.servers = {name: self.new_server() for name in names}
        self.door = names[0]
        self.starting: set[asyncio.Task[None]] = set()
        self.known: dict[Client, Connection] = {}

    def new_server(self) -> cluster.Server:
        return self.kind(**self.settings)

    async def handle_client(self, reader: asyncio.StreamReader, client: Connection) -> None:
        await self.servers[self.door].handle_client(reader, client)

    async def __aenter__(self) -> None:
        for server in self.servers.values():
            await server.__aenter__()

    async def __aexit__(self, *failure: object) -> None:
        for server in self.servers.values():
            await server.__aexit__(*failure)

    async def kill(self, name: str, lab: Lab) -> None:
        """From one moment to the next, a server and its connections are gone."""
        server = self.servers.pop(name)

        def die() -> None:
            server.order.following.cancel()
            server.order.proposing.cancel()
            server.order.end_life()

        await lab.background.call(die)
        for client in list(lab.clients.values()):
            await client.settle()

    async def start(self, name: str, lab: Lab) -> None:
        """Start one more, which reads the log from its beginning."""
        server = self.servers[name] = self.new_server()

        def start() -> None:
            self.starting.add(asyncio.create_task(server.__aenter__()))

        await lab.background.call(start)

    # What the lab shows: what one of them knows, and the names of everybody's clients

    @property
    def broker(self) -> Any:
        return next(iter(self.servers.values())).broker

    @property
    def connections(self) -> dict[Client, Connection]:
        for server in self.servers.values():
            self.known |= server.connections
        return self.known

    def states(self) -> list[Any]:
        """What each of the servers knows."""
        return [server.broker.kept() for server in self.servers.values()]
