"""A shared log that an engine keeps on three machines: NATS JetStream.

    log = JetStream("nats://10.0.0.1:4222,nats://10.0.0.2:4222", "messages")
    await log.open(agreed)
    await log.append(b"…")                          returns once a majority of the machines has it

The log is a stream with three replicas, the last snapshot an object in a store beside it.

Source: the documentation of NATS JetStream and of its client nats-py. Versions before 2.10.23 may
lose what was acknowledged when a process crashes (the change log of nats-server 2.10.23).
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    ObjectStoreConfig,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from stages.beyond.log.shared import Agreed, Record, check_agreed

logger = logging.getLogger("stages")

T = TypeVar("T")

REPLICAS = 3
OLDEST = (2, 10, 23)
LARGEST = 2**22
"""How many bytes the engine must accept in a record."""

START = 10
"""Seconds that the engine may take to answer when we start."""

SILENCE = 2
"""Seconds without a record after which we ask for the rest anew: the servers write more often."""

PING = 1
"""Seconds after which a node that is silent is asked whether it is there; the third time it is left
for another. (Without this, a node that is frozen silences us for minutes.)"""

TRANSFER = 60
"""Seconds that a snapshot may take on its way."""


class JetStream:
    def __init__(self, nodes: str, name: str) -> None:
        if not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"a log's name is made of letters, digits, - and _: got {name!r}")
        self.nodes = nodes
        self.shown = re.sub(r"//[^/,]*@", "//", nodes)  # without a password
        self.name = name
        self.engine = Client()
        self.is_open = False
        self.problem = "no answer"

    async def open(self, agreed: Agreed) -> None:
        logger.info("Waiting for the engine at %s", self.shown)
        try:
            async with asyncio.timeout(START):
                await self.connect()
                await self.patiently(lambda: self.prepare(agreed))
        except TimeoutError:
            await self.close()
            raise OSError(
                f"the engine at {self.shown} can keep no log: {self.problem} "
                "(README tells how to get one; --engine memory does without)"
            ) from None
        except BaseException:
            await self.close()
            raise
        self.is_open = True

    async def connect(self) -> None:
        try:
            await self.engine.connect(
                self.nodes.split(","),
                max_reconnect_attempts=-1,
                ping_interval=PING,
                max_outstanding_pings=2,
                reconnect_time_wait=0.1,  # type: ignore[arg-type]  # a fraction will do
                error_cb=self.note,
            )
        except Error as problem:
            raise OSError(f"no engine at {self.shown}: {problem}") from None
        found = self.engine.connected_server_version
        version = found.major, found.minor, found.patch
        if version < OLDEST:
            is_, wanted = (".".join(map(str, each)) for each in (version, OLDEST))
            raise OSError(
                f"the engine has version {is_}, which may lose what was acknowledged: "
                f"expected {wanted} or newer"
            )
        if self.engine.max_payload < LARGEST:
            raise OSError(
                f"the engine accepts {self.engine.max_payload} bytes at once: "
                f"expected at least {LARGEST} (`max_payload: 8MB` in its configuration)"
            )
        self.streams = self.engine.jetstream(timeout=1)

    async def prepare(self, agreed: Agreed) -> None:
        """Make the log, and the place for its snapshot, unless they are there."""
        config = StreamConfig(
            self.name,
            subjects=[self.name],
            num_replicas=REPLICAS,
            description=json.dumps(agreed),
        )
        found = await if_found(self.streams.stream_info(self.name))
        stream = found or await self.streams.add_stream(config)
        check_agreed(json.loads(stream.config.description or "{}"), agreed)
        store = await if_found(self.streams.object_store(self.name))
        self.store = store or await self.streams.create_object_store(
            self.name, ObjectStoreConfig(replicas=REPLICAS)
        )

    async def append(self, data: bytes) -> None:
        await self.patiently(lambda: self.streams.publish(self.name, data, stream=self.name))

    async def read(self, after: int) -> AsyncIterator[Record]:
        while True:
            with suppress(Error):
                async for record in self.read_without_gap(after):
                    after = record.number
                    yield record
            await asyncio.sleep(0.05)

    async def read_without_gap(self, after: int) -> AsyncIterator[Record]:
        """Yield records until there is a silence, or one is missing; the first may be the first
        that is there."""
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            num_replicas=1,
        )
        messages = await self.streams.subscribe(self.name, stream=self.name, config=config)
        try:
            first = True
            while True:
                message = await messages.next_msg(SILENCE)
                number = message.metadata.sequence.stream
                if number != after + 1 and not (first and number == await self.first()):
                    return  # something was lost on the way: ask for it anew
                first, after = False, number
                yield Record(number, message.metadata.timestamp.timestamp(), message.data)
        finally:
            with suppress(Error):
                await messages.unsubscribe()

    async def first(self) -> int:
        info = await self.streams.stream_info(self.name)
        return int(info.state.first_seq)

    async def save(self, number: int, snapshot: bytes) -> None:
        with suppress(Error, TimeoutError):  # the next one will do
            async with asyncio.timeout(TRANSFER):
                # Each has a name of its own, so that one that comes late replaces no newer one.
                await self.store.put(f"{number:020}", snapshot)
                names = await self.snapshots()
                for old in names[:-2]:
                    await self.store.delete(old)
                if len(names) > 1:
                    await self.streams.purge_stream(self.name, seq=int(names[-2]) + 1)

    async def snapshots(self) -> list[str]:
        """The names of the snapshots, oldest first."""
        found = await if_found(self.store.list()) or []
        return sorted(str(each.name) for each in found if not each.deleted)

    async def load(self) -> bytes | None:
        return await self.patiently(self.get_newest)

    async def get_newest(self) -> bytes | None:
        async with asyncio.timeout(TRANSFER):
            names = await self.snapshots()
            return (await self.store.get(names[-1])).data if names else None

    async def close(self) -> None:
        # nats-py's own troubles with a connection that never was, or is gone.
        with suppress(Error, OSError, RuntimeError, AssertionError):
            await self.engine.close()

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until the engine does it: it may be electing a leader."""
        while True:
            try:
                return await attempt()
            except (Error, OSError) as problem:
                await self.note(problem)
                await asyncio.sleep(0.1)

    async def note(self, problem: Exception) -> None:
        told = str(problem) or type(problem).__name__
        if self.is_open and told != self.problem:
            logger.warning("The engine: %s", told)
        self.problem = told


async def if_found(request: Awaitable[T]) -> T | None:
    try:
        return await request
    except NotFoundError:
        return None
