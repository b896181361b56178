"""Several servers behave like one, and any of them may be killed.

    bob, at one server       > {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all"}
    bob                      < {"success": true}
            that server is killed, and one of the three machines that keep the log
    alice, at another server > {"command": "subscribe", "topic": "foo"}
    alice                    < {"success": true}
    alice                    < {"command": "send", "topic": "foo", "msg": "blah", …, "index": 0}

Each server writes what its clients say into a log that all share, reads from it what they all have
written, does that, and answers its own clients. To keep one log on several machines is the hard
part: an existing engine does it. What a server does with it: see `order.py`.

Source: state machine replication (Lamport 1978, Schneider 1990); the engine, NATS JetStream, gives
the order by Raft (Ongaro and Ousterhout 2014).
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import msgspec

from stages import command_line, settings
from stages.beyond import fast
from stages.beyond.broker import Outgoing
from stages.beyond.log.order import Order
from stages.beyond.log.replica import Replica
from stages.beyond.log.shared import Agreed, SharedLog, memory_log
from stages.beyond.server.connection import Connection
from stages.connection import Reader

BEHIND = 100
"""How many records of other servers may wait for slow readers of this one."""

NOBODY = 0
"""No client has this number."""


@dataclass(eq=False)
class Server(fast.Server):
    """One of several servers that do the same, in the order of a log that an engine keeps for
    them."""

    engine: str = settings.setting(
        "nats://localhost:4222",
        "the engine's nodes, with commas between; or memory, to try it in one process",
        trial="memory",
    )
    log: str = settings.setting("messages", "the log that the servers share", trial="{folder}")
    lease: float = settings.setting(
        5.0, "seconds of silence after which the others forget a server", at_least=0.1, trial=60.0
    )
    replica_class: ClassVar[type[Replica]] = Replica
    data: ClassVar[str] = ""  # type: ignore[misc]  # the engine keeps it, not a file

    def __post_init__(self) -> None:
        super().__post_init__()
        rules: Agreed = msgspec.structs.asdict(self.broker.rules)
        agreed = rules | {"lease": self.lease, "seed": self.seed or 0}
        self.sequencer = self.order = Order(
            self.new_replica,
            self.shared_log(),
            OwnClients(self),
            agreed=agreed,
            log_limit=self.log_limit,
            time=self.time,
        )

    def new_replica(self) -> Replica:
        self.broker = self.new_broker()
        return self.replica_class(self.broker, lease=self.lease, seed=self.seed or 0)

    def shared_log(self) -> SharedLog:
        if self.engine == "memory":
            return memory_log(self.log)
        if not find_spec("nats"):
            raise ValueError("an engine needs nats-py: install it with pip install -e '.[cluster]'")
        from stages.beyond.log.jetstream import JetStream

        return JetStream(self.engine, self.log)

    async def handle_client(self, reader: Reader, connection: Connection) -> None:
        await self.order.joined.wait()
        self.numbers = self.order.numbers
        await super().handle_client(reader, connection)


class OwnClients(fast.OneWrite):
    """The outlet of a server whose log speaks of the clients of all servers: here are some."""

    server: Server

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.waiting: set[asyncio.Task[None]] = set()

    def send(self, outgoing: Outgoing) -> None:
        """Send what is for our own clients. The others have servers of their own."""
        ours: Outgoing = []
        for clients, what in outgoing:
            if here := [client for client in clients if client in self.server.outboxes]:
                ours.append((here, what))
        super().send(ours)
        if not self.server.order.wrote_last:
            self.watch_readers(ours)

    def watch_readers(self, outgoing: Outgoing) -> None:
        """A slow reader holds up no sender of another server; but like any, it is given up if it
        takes nothing, and here also if it is too far behind."""
        slow = {client: outbox for client, outbox in self.server.outboxes.items() if outbox.pending}
        if slow:
            self.start(self.server.wait_for_recipients(NOBODY, outgoing))
            if len(self.waiting) > BEHIND:
                for client, outbox in slow.items():
                    self.start(self.server.disconnect_slow(client, outbox))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.waiting.add(task)
        task.add_done_callback(self.waiting.discard)

    def dismiss(self, reason: str) -> None:
        for task in self.waiting:
            task.cancel()
        for client in self.server.outboxes:
            self.server.connections[client].abort()


if __name__ == "__main__":
    command_line.main(Server, fast.new_event_loop)
