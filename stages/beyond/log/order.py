"""The order of a log that servers share: what a client says is done when it is read there.

    inbox -> proposal -> shared log -> record -> replica -> outlet

A server takes part for a *life*: from its first proposal under a name, until the others forget it.
Its clients are those of one life.

Source: state machine replication (Lamport 1978, Schneider 1990).
"""

import asyncio
import itertools
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from stages.beyond.broker import Outgoing
from stages.beyond.broker.topic import Client
from stages.beyond.log.file import FORMAT
from stages.beyond.log.replica import CLIENTS, Member, Proposal, Replica
from stages.beyond.log.shared import Agreed, Record, SharedLog
from stages.beyond.server.connection import NOT_STORED
from stages.beyond.server.inbox import Inbox, Input
from stages.beyond.server.sequencer import Duties, Outlet

logger = logging.getLogger("stages")

FAREWELL = 2
"""Seconds for telling the others that this server leaves; else they find out after a lease."""


class Order:
    """A sequencer in which all servers of a log do the same. `agreed` is what they must agree on
    before."""

    def __init__(
        self,
        new_replica: Callable[[], Replica],
        shared: SharedLog,
        outlet: Outlet,
        *,
        agreed: Agreed,
        log_limit: int,
        time: Callable[[], float],
    ) -> None:
        self.new_replica = new_replica
        self.replica = new_replica()
        self.shared = shared
        self.outlet = outlet
        self.agreed = agreed | {"format": FORMAT}
        self.log_limit = log_limit
        self.time = time
        self.inbox = Inbox()
        self.duties = Duties()
        self.stopping = False
        self.size = 0  # of the records since the last snapshot, in bytes
        self.saving = False
        self.joined = asyncio.Event()
        self.under_way: list[Input] = []
        self.begin_life()

    # Our clients

    async def submit(self, client: Client, data: bytes | None) -> Outgoing:
        if self.member is None or client // CLIENTS != self.member.number:
            return []  # it was a client of an earlier life
        return await self.inbox.put(client, data)

    # Writing

    async def propose(self) -> None:
        """Write down what clients have said, one proposal after the other."""
        while not self.stopping:
            due = self.due
            if self.member is None or self.inbox.inputs or due <= self.time():
                self.under_way = self.inbox.take()
                await self.write([(said.client, said.data) for said in self.under_way])
            else:
                await self.inbox.wait(due)

    @property
    def due(self) -> float:
        """When there must be a record, though no client says anything: well within the lease, the
        others must hear of us; and if the broker needs a batch, the server that wrote last sees to
        it."""
        heartbeat = self.last_written + self.replica.lease / 5
        due = self.replica.broker.due
        if due is None or not self.wrote_last:
            return heartbeat
        return min(heartbeat, self.read_at + due - self.replica.clock)

    async def write(self, inputs: list[tuple[Client, bytes | None]], leaves: bool = False) -> None:
        """Write a proposal, and wait until it has been read, and so is done."""
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
                logger.error("The log has gone on without us: our clients must connect again")
                await self.load()
                self.end_life()
            if record.number > self.replica.number + 1:
                first, last = self.replica.number + 1, record.number - 1
                raise OSError(f"the engine has lost records {first} to {last} of the log")
            if record.number == self.replica.number + 1:
                self.apply(record)

    def apply(self, record: Record) -> None:
        applied = self.replica.apply(record)
        self.read_at = self.time()
        self.wrote_last = applied.server == self.name
        for outgoing in filter(None, applied.parts):
            self.outlet.send(outgoing)
        if self.wrote_last and applied.number == self.written:
            self.finish(applied.answers)
        self.see_who_takes_part()
        self.size += len(record.data)
        if self.size > self.log_limit:
            self.begin_to_save()
        self.inbox.wake.set()

    def finish(self, answers: Sequence[Outgoing]) -> None:
        """Let the handlers of our clients go on."""
        for number, said in enumerate(self.under_way):
            said.finish(answers[number] if answers else [])
        self.under_way = []
        self.done.set()

    # Lives

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
            logger.error("The others have given this server up: its clients must connect again")
            self.end_life()

    def end_life(self) -> None:
        """Nobody knows our clients any more: what they ask is not done, and they are sent away."""
        self.under_way += self.inbox.take_all()
        self.finish([])
        self.outlet.dismiss(NOT_STORED)
        self.begin_life()

    # Snapshots

    def begin_to_save(self) -> None:
        """Whoever has written the record that makes the log too long saves a snapshot."""
        self.size = 0
        if self.wrote_last and not self.saving:
            self.saving = True
            self.duties.start(self.save(self.replica.number, self.replica.snapshot()))

    async def save(self, number: int, pieces: Iterator[bytes]) -> None:
        taken = []
        try:
            for piece in pieces:
                taken.append(piece)
                await asyncio.sleep(0)  # a turn for the others: it may be long
            await self.shared.save(number, b"\n".join(taken))
        except OSError as problem:
            logger.error("Cannot save a snapshot, and goes on without: %s", problem)
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
        self.duties.begin()
        await self.shared.open(self.agreed)
        try:
            await self.load()
            self.following = self.duties.start(self.follow())
            self.proposing = self.duties.start(self.propose())
            await self.joined.wait()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *failure: object) -> None:
        """Tell the others that our clients are gone."""
        self.stopping = True
        self.inbox.wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await asyncio.wait([self.proposing])
                if not self.duties.problem:
                    await self.write([], leaves=True)
        await self.close()

    async def close(self) -> None:
        self.outlet.dismiss(NOT_STORED)
        try:
            await self.duties.end()
        finally:
            await self.shared.close()
