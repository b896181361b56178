"""Whatever was acknowledged to the sender survives a crash.

    bob   > {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all"}
    bob   < {"success": true}
            the server is killed, and started again
    alice > {"command": "subscribe", "topic": "foo"}
    alice < {"success": true}
    alice < {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all", "index": 0}

The broker does what clients say; the log remembers what they said; and only then the server sends
what comes of it.

Source: write-ahead and group commit, as in any database: whatever comes while the disk is busy is
written together the next time.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from stages import serve, settings
from stages.beyond import acks
from stages.beyond.broker import Batch, Outgoing
from stages.beyond.log import Log, encode
from stages.beyond.topic import Client
from stages.connection import NOT_STORED

log = logging.getLogger("stages")

BATCH, BATCH_LINES = 2**20, 2000
"""How many bytes and lines of clients go into a batch, and those of one client more."""

LEAVING = 200
"""How many lines it counts for that a client has left: much work may come back from it."""

SNAPSHOT_STEP = 2**20
"""How many bytes of a snapshot are stored with a batch, and a piece more."""


class Input(NamedTuple):
    """What a client has said, and the future that its handler waits on."""

    client: Client
    data: bytes | None
    outgoing: asyncio.Future[Outgoing]


@dataclass(eq=False)
class Server(acks.Server):
    """A server that keeps a log in the file `data`."""

    # Tried with the cache of the earlier stages, whose tests it has to pass, too.
    cache_length: int = settings.setting(
        10_000, "messages kept of each topic", at_least=0, trial=100
    )
    data: str = settings.setting("messages.db", "the file that keeps the messages")
    log_limit: int = settings.setting(
        2**26, "bytes of log after which a snapshot replaces it", at_least=1
    )

    lines_in_turn = 500  # each turn costs a commit

    # How the disk is written to; a simulation has a thread of its own.
    in_thread: ClassVar[Callable[..., Any]] = staticmethod(asyncio.to_thread)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.file = Log(self.data)
        self.inputs: deque[Input] = deque()
        self.wake = asyncio.Event()
        self.failed = False
        self.stopping = False
        self.snapshot: Iterator[Any] | None = None

    async def __aenter__(self) -> None:
        """Continue where the last process stopped. Its clients are gone, so what they had in flight
        comes back."""
        self.file.open()
        try:
            for piece in self.file.load(self.broker.pieces):
                self.broker.restore(piece)
            for batch in self.file.read():
                self.broker.carry_out(batch)
            await self.restart()
        except BaseException:
            self.file.close()
            raise
        self.committing = asyncio.create_task(self.commit())
        log.info("Messages are kept in %s", self.file.path)

    async def __aexit__(self, *failure: object) -> None:
        """Store a snapshot, and close the file."""
        self.stopping = True
        self.wake.set()
        await self.committing
        await super().__aexit__(*failure)
        try:
            if not self.failed:
                await self.restart()
                self.begin_snapshot()
                while self.snapshot:
                    await self.store(None)
        except OSError as problem:
            log.error("Cannot store messages in %s: %s", self.file.path, problem)
        finally:
            self.file.close()

    async def restart(self) -> None:
        """Begin a life of this server, in which nobody is there yet; or end one, so that the
        snapshot has no clients."""
        seed = random.getrandbits(32) if self.seed is None else self.seed
        batch = Batch(self.time(), [], restart=self.new_broker().settings() | {"seed": seed})
        self.broker.carry_out(batch)
        await self.store(batch)

    async def carry_out(self, client: Client, data: bytes | None) -> Outgoing:
        """Have the broker do what a client has said, and send what comes of it once the log has it.
        Returns that."""
        if self.failed:
            self.dismiss(client)
            return []
        said = Input(client, data, asyncio.get_running_loop().create_future())
        self.inputs.append(said)
        self.wake.set()
        return await said.outgoing

    def tick(self) -> None:
        self.wake.set()

    async def commit(self) -> None:
        """Carry out and store one batch after the other. While the disk is busy with one, all that
        comes is gathered for the next."""
        while not self.stopping and not self.failed:
            if self.has_work():
                inputs = self.next_inputs()
                try:
                    await self.commit_batch(inputs)
                except Exception as problem:
                    self.fail(problem, inputs)
            else:
                self.set_timer()
                await self.wake.wait()
                self.wake.clear()

    def has_work(self) -> bool:
        return (
            bool(self.inputs) or self.is_due() or self.snapshot is not None or not self.file.swept
        )

    def is_due(self) -> bool:
        return self.due is not None and self.due <= self.time()

    def next_inputs(self) -> list[Input]:
        inputs, size, lines = [], 0, 0
        while self.inputs and size < BATCH and lines < BATCH_LINES:
            inputs.append(self.inputs.popleft())
            data = inputs[-1].data
            size += len(data or b"")
            lines += LEAVING if data is None else 1 + data.count(b"\n")
        return inputs

    async def commit_batch(self, inputs: list[Input]) -> None:
        if self.snapshot is None and self.file.size > self.log_limit:
            self.begin_snapshot()
        batch, parts = None, list[Outgoing]()
        if inputs or self.is_due():
            batch = Batch(self.time(), [(said.client, said.data) for said in inputs])
            parts = self.broker.carry_out(batch)
        await self.store(batch)
        for outgoing in parts:
            self.send(outgoing)
        for said, outgoing in zip(inputs, parts[1:], strict=True):
            if not said.outgoing.done():  # its handler may have been cancelled
                said.outgoing.set_result(outgoing)

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

    def fail(self, problem: Exception, inputs: list[Input]) -> None:
        """Go no further: the broker knows more than the disk, so nothing more may be sent."""
        self.failed = True
        if isinstance(problem, OSError):
            log.error("Cannot store messages in %s: %s: start me again", self.file.path, problem)
        for client in self.outboxes:
            self.dismiss(client)
        for said in [*inputs, *self.inputs]:
            if not said.outgoing.done():
                if isinstance(problem, OSError):
                    said.outgoing.set_result([])
                else:  # a bug of ours, or of a class that extends this one: its handler reports it
                    said.outgoing.set_exception(problem)
        self.inputs.clear()

    def dismiss(self, client: Client) -> None:
        self.outboxes[client].dismiss({"success": False, "reason": NOT_STORED}, self.write_timeout)


if __name__ == "__main__":
    serve.main(Server)
