"""Whole batches, one after the other: what comes of one is sent once a file has it.

    inbox -> broker -> file -> outlet

A start loads the last snapshot, and gives the broker the rest of the log again. While the disk is
busy with one batch, all that comes is gathered for the next.

Source: write-ahead logs; Redis' append-only file; LMAX' journal.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from stages.beyond.broker import Batch, Broker, Outgoing
from stages.beyond.broker.topic import Client
from stages.beyond.log.file import Log, encode
from stages.beyond.server.connection import NOT_STORED
from stages.beyond.server.inbox import Inbox, Input
from stages.beyond.server.sequencer import Duties, Outlet

logger = logging.getLogger("stages")

SNAPSHOT_STEP = 2**20
"""How many bytes of a snapshot are stored with a batch, and a piece more."""


class Journal:
    """A sequencer that keeps the log of one server in a file. Each life of the server begins with
    the rules that the broker has now. Time and disk can be others: a simulation gives its own."""

    def __init__(
        self,
        broker: Broker[Any],
        file: Log,
        outlet: Outlet,
        *,
        log_limit: int,
        time: Callable[[], float],
        in_thread: Callable[..., Any] = asyncio.to_thread,
    ) -> None:
        self.broker = broker
        self.file = file
        self.outlet = outlet
        self.rules = broker.rules
        self.log_limit = log_limit
        self.time = time
        self.in_thread = in_thread
        self.inbox = Inbox()
        self.duties = Duties()
        self.stopping = False
        self.snapshot: Iterator[Any] | None = None

    async def submit(self, client: Client, data: bytes | None) -> Outgoing:
        return [] if self.duties.problem else await self.inbox.put(client, data)

    # From start to stop

    async def __aenter__(self) -> None:
        """Continue where the last process stopped. Its clients are gone, so what they had in flight
        comes back."""
        self.duties.begin()
        self.file.open()
        try:
            for piece in self.file.load(self.broker.pieces):
                self.broker.restore(piece)
            for batch in self.file.read():
                self.broker.carry_out(batch)
            await self.begin_life()
        except BaseException:
            self.file.close()
            raise
        self.committing = self.duties.start(self.commit())
        logger.info("Messages are kept in %s", self.file.path)

    async def __aexit__(self, *failure: object) -> None:
        """Store a snapshot, and close the file."""
        self.stopping = True
        self.inbox.wake.set()
        await asyncio.wait([self.committing])
        try:
            if not self.duties.problem:
                await self.begin_life()  # nobody's: a snapshot without clients
                self.begin_snapshot()
                while self.snapshot:
                    await self.store(None)
        except OSError as problem:
            raise self.not_stored(problem) from None
        finally:
            self.file.close()
        await self.duties.end()

    async def begin_life(self) -> None:
        """Nobody is there yet, and time begins anew."""
        rules = self.rules
        if rules.seed is None:
            rules = msgspec.structs.replace(rules, seed=random.getrandbits(32))
        batch = Batch(self.time(), [], rules)
        self.broker.carry_out(batch)
        await self.store(batch)

    # Batch after batch

    async def commit(self) -> None:
        while not self.stopping:
            if self.has_work():
                await self.commit_batch(self.inbox.take())
            else:
                await self.inbox.wait(self.broker.due)

    def has_work(self) -> bool:
        unfinished = self.snapshot is not None or not self.file.swept
        return bool(self.inbox.inputs) or self.is_due() or unfinished

    def is_due(self) -> bool:
        return self.broker.due is not None and self.broker.due <= self.time()

    async def commit_batch(self, inputs: list[Input]) -> None:
        try:
            for said, outgoing in zip(inputs, await self.carried_out(inputs), strict=True):
                said.finish(outgoing)
        except Exception as problem:
            self.give_up(problem, inputs)
            raise self.not_stored(problem) if isinstance(problem, OSError) else problem from None

    async def carried_out(self, inputs: list[Input]) -> list[Outgoing]:
        """Carry out and store a batch, and send what comes of it. Returns that, for each input."""
        if self.snapshot is None and self.file.size > self.log_limit:
            self.begin_snapshot()
        if not inputs and not self.is_due():
            await self.store(None)
            return []
        batch = Batch(self.time(), [(said.client, said.data) for said in inputs])
        by_time, *by_input = self.broker.carry_out(batch)
        await self.store(batch)
        for outgoing in filter(None, (by_time, *by_input)):
            self.outlet.send(outgoing)
        return by_input

    def give_up(self, problem: Exception, inputs: list[Input]) -> None:
        """Go no further: the broker knows more than the disk, so nothing more may be sent."""
        self.outlet.dismiss(NOT_STORED)
        for said in inputs + self.inbox.take_all():
            if isinstance(problem, OSError) or said.done.done():
                said.finish([])
            else:  # a bug of ours, or of a class that extends the broker's: its handler reports it
                said.done.set_exception(problem)

    def not_stored(self, problem: OSError) -> OSError:
        logger.error("Cannot store messages in %s: %s", self.file.path, problem)
        return OSError(f"cannot store messages in {self.file.path}: {problem}: start me again")

    # The file

    def begin_snapshot(self) -> None:
        self.snapshot = self.broker.snapshot()
        self.file.begin_snapshot()

    async def store(self, batch: Batch | None) -> None:
        """Have the log store a batch, and with it a part of the snapshot that is under way."""
        pieces = self.next_pieces()
        ends = self.snapshot is not None and not pieces
        await self.in_thread(self.file.append, batch, pieces, ends)
        if ends:
            self.snapshot = None

    def next_pieces(self) -> list[bytes]:
        pieces, size = [], 0
        for piece in self.snapshot or ():
            pieces.append(encode(piece))
            size += len(pieces[-1])
            if size >= SNAPSHOT_STEP:
                break
        return pieces
