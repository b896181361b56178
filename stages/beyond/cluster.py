"""Several servers behave like one, and any of them may be killed.

    bob, at one server       > {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all"}
    bob                      < {"success": true}
            that server is killed, and one of the three machines that keep the log
    alice, at another server > {"command": "subscribe", "topic": "foo"}
    alice                    < {"success": true}
    alice                    < {"command": "send", "topic": "foo", "msg": "blah", …, "index": 0}

Each server writes what its clients say into a log that all share, reads from it what they all have
written, does that, and answers its own clients. To keep one log on several machines is the hard
part: an existing engine does it.

Source: state machine replication (Lamport 1978, Schneider 1990); the engine, NATS JetStream, gives
the order by Raft (Ongaro and Ousterhout 2014).
"""

import asyncio
import itertools
import logging
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

from stages import serve, settings
from stages.beyond import fast
from stages.beyond.broker import Outgoing
from stages.beyond.durable import Input
from stages.beyond.replica import CLIENTS, Member, Proposal, Replica
from stages.beyond.shared_log import Record, SharedLog, memory_log
from stages.beyond.topic import Client
from stages.connection import Connection

log = logging.getLogger("stages")

FAREWELL = 2
"""Seconds for telling the others that this server leaves; else they find out after a lease."""


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
        self.shared = self.shared_log()
        self.replica = self.new_replica()
        self.size = 0  # of the records since the last snapshot, in bytes
        self.saving = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.trouble: OSError | None = None
        self.joined = asyncio.Event()
        self.begin_life()

    def shared_log(self) -> SharedLog:
        if self.engine == "memory":
            return memory_log(self.log)
        if not find_spec("nats"):
            raise ValueError("an engine needs nats-py: install it with pip install -e '.[cluster]'")
        from stages.beyond.jetstream import JetStream

        return JetStream(self.engine, self.log)

    def new_replica(self) -> Replica:
        self.broker = self.new_broker()
        return self.replica_class(self.broker, lease=self.lease, seed=self.seed or 0)

    @property
    def keeper(self) -> Any:
        return super(fast.Server, self)  # `durable`: it gathers what comes while it writes

    # Our clients

    async def handle_client(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        await self.joined.wait()
        await super().handle_client(reader, connection)

    async def carry_out(self, client: Client, data: bytes | None) -> Outgoing:
        if self.member is None or client // CLIENTS != self.member.number:
            return []  # it was a client of an earlier life
        return await super().carry_out(client, data)

    def send(self, outgoing: Outgoing) -> None:
        """Send what is for our own clients. The others have servers of their own."""
        ours = [
            ([client for client in clients if client in self.outboxes], what)
            for clients, what in outgoing
        ]
        super().send([(clients, what) for clients, what in ours if clients])

    # Writing

    def has_work(self) -> bool:
        return self.member is None or bool(self.inputs) or self.is_due()

    @property
    def due(self) -> float:
        """When there must be a record, though no client says anything: well within the lease, the
        others must hear of us; and if the broker needs a batch, the server that wrote last sees to
        it."""
        heartbeat = self.last_written + self.lease / 5
        if self.broker.due is None or not self.wrote_last:
            return heartbeat
        return min(heartbeat, self.read_at + self.broker.due - self.replica.clock)

    async def commit_batch(self, inputs: list[Input]) -> None:
        """Write down what clients have said, and wait until it is read, and so done."""
        self.under_way = inputs
        await self.write([(said.client, said.data) for said in inputs])

    async def write(self, inputs: list[tuple[Client, bytes | None]], leaves: bool = False) -> None:
        self.written += 1
        self.last_written = self.time()
        done = self.done = asyncio.Event()
        await self.shared.append(Proposal(self.name, self.written, inputs, leaves).encoded())
        await done.wait()

    # Reading

    async def follow(self) -> None:
        """Do what the log says, as long as we serve."""
        async for record in self.shared.read(self.replica.number):
            if record.number > self.replica.number + 1:
                log.error("The log has gone on without this server: its clients must connect again")
                await self.load()
                self.end_life()
            if record.number > self.replica.number + 1:
                first, last = self.replica.number + 1, record.number - 1
                raise OSError(f"the engine has lost records {first} to {last} of the log")
            if record.number == self.replica.number + 1:
                self.read(record)

    def read(self, record: Record) -> None:
        applied = self.replica.apply(record)
        self.read_at = self.time()
        self.wrote_last = applied.server == self.name
        for outgoing in applied.outgoing:
            self.send(outgoing)
        if not self.wrote_last:
            self.watch_readers([pair for outgoing in applied.outgoing for pair in outgoing])
        if self.wrote_last and applied.number == self.written:
            self.finish(applied.answers)
        self.see_who_takes_part()
        self.size += len(record.data)
        if self.size > self.log_limit:
            self.begin_to_save()
        self.wake.set()

    def finish(self, answers: Sequence[Outgoing]) -> None:
        """Let the handlers of our clients go on."""
        for number, said in enumerate(self.under_way):
            if not said.outgoing.done():  # its handler may have been cancelled
                said.outgoing.set_result(answers[number] if answers else [])
        self.under_way = []
        self.done.set()

    def watch_readers(self, outgoing: Outgoing) -> None:
        """A slow reader holds up no sender of another server; but like any, it is given up if it
        takes nothing, and here also if it is too far behind."""
        self.start(self.wait_for_recipients(NOBODY, outgoing))
        if len(self.tasks) > BEHIND:
            for client, outbox in self.outboxes.items():
                if outbox.pending:
                    self.start(self.disconnect_slow(client, outbox))

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # A life lasts from the first proposal under a name until the others forget it

    def begin_life(self) -> None:
        self.name = uuid.uuid4().hex
        self.member: Member | None = None
        self.written = 0
        self.last_written = self.read_at = 0.0
        self.wrote_last = False
        self.under_way = []
        self.done = asyncio.Event()
        self.joined.clear()

    def see_who_takes_part(self) -> None:
        member = self.replica.members.get(self.name)
        if member and not self.member:
            self.member = member
            self.numbers = itertools.count(member.first_client)
            self.joined.set()
        elif self.member and not member and not self.stopping:
            log.error("The others have given this server up: its clients must connect again")
            self.end_life()

    def end_life(self) -> None:
        """Nobody knows our clients any more: what they ask is not done, and they are sent away."""
        self.under_way += self.inputs
        self.inputs.clear()
        self.finish([])
        for client in self.outboxes:
            self.connections[client].abort()
        self.begin_life()

    # Snapshots

    def begin_to_save(self) -> None:
        """Whoever has written the record that makes the log too long saves a snapshot."""
        self.size = 0
        if self.wrote_last and not self.saving:
            self.saving = True
            self.start(self.save(self.replica.number, self.replica.snapshot()))

    async def save(self, number: int, pieces: Iterator[bytes]) -> None:
        taken = []
        try:
            for piece in pieces:
                taken.append(piece)
                await asyncio.sleep(0)  # a turn for the others: it may be long
            await self.shared.save(number, b"\n".join(taken))
        finally:
            self.saving = False

    async def load(self) -> None:
        if snapshot := await self.shared.load():
            self.replica, self.size = self.new_replica(), 0
            for piece in snapshot.split(b"\n"):
                self.replica.restore(piece)

    # From start to stop

    async def __aenter__(self) -> None:
        """Catch up with the log, and join the others."""
        agreed = self.broker.settings() | {"lease": self.lease, "seed": self.seed or 0}
        await self.shared.open(agreed)
        self.serving = asyncio.current_task()
        try:
            await self.load()
            self.following = self.start(self.watch(self.follow()))
            self.committing = self.start(self.watch(self.commit()))
            await self.joined.wait()
        except BaseException:
            await self.close()
            raise

    async def watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work; if it fails, we can't go on, and end."""
        try:
            await work
        except Exception as problem:
            told = problem if isinstance(problem, OSError) else OSError(serve.described(problem))
            self.trouble = self.trouble or told
            if self.serving:
                self.serving.cancel()

    async def __aexit__(self, *failure: object) -> None:
        """Tell the others that our clients are gone."""
        self.stopping = True
        self.wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self.committing
                if not self.trouble:
                    await self.write([], leaves=True)
        await self.close()

    async def close(self) -> None:
        """End all that is under way. Raises OSError if that is why we end."""
        if self.timer:
            self.timer.cancel()
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.shared.close()
        if self.trouble and self.serving:
            self.serving.uncancel()
            raise self.trouble


if __name__ == "__main__":
    serve.main(Server, fast.new_event_loop)
