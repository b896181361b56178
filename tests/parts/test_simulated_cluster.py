"""Several servers on one log, in one thread, from one seed: leaders change, records come twice,
servers pause and die; all that live come to the same state, and what was promised holds.

    $ python tests/test_simulated_cluster.py 10000
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import histories
import msgspec
import pytest
from clusters import whole_state
from histories import HIGH_WATER, Client, Session, World, check_rules
from simulated import Link

from stages import serve
from stages.beyond import cluster, fast
from stages.beyond.broker import Outgoing
from stages.beyond.log.replica import Replica
from stages.beyond.log.shared import MemoryLog, Record
from stages.beyond.server.connection import Connection

pytestmark = pytest.mark.slow

SERVERS = 3
LEASE = 2.0


class SimulatedLog(MemoryLog):
    """Takes its time; while it has no leader, nothing is written; what is written may come twice."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(lambda: 1000 + self.skew + asyncio.get_running_loop().time())
        self.rng = rng
        self.skew = 0.0  # each leader has a clock of its own
        self.elected_at = 0.0

    def elect(self, seconds: float) -> None:
        self.elected_at = asyncio.get_running_loop().time() + seconds
        self.skew = self.rng.uniform(-1, 1)

    async def append(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.rng.random() * 0.005)
        await asyncio.sleep(max(0.0, self.elected_at - loop.time()))
        await super().append(data)
        if self.rng.random() < 0.1:  # no answer came, so it was asked again
            later = self.rng.choice([0.0, 0.01, 1.0])
            loop.call_later(later, lambda: loop.create_task(MemoryLog.append(self, data)))
        await asyncio.sleep(self.rng.random() * 0.005)


class View:
    """How a server sees the log: later than others, and while it is cut off from it, not at all."""

    def __init__(self, log: SimulatedLog) -> None:
        self.log = log
        self.reachable_at = 0.0
        self.open, self.load, self.close = log.open, log.load, log.close

    async def wait(self) -> None:
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, self.reachable_at - now) + self.log.rng.random() * 0.002)

    async def append(self, data: bytes) -> None:
        await self.wait()
        await self.log.append(data)

    async def read(self, after: int) -> AsyncIterator[Record]:
        async for record in self.log.read(after):
            await self.wait()
            yield record

    async def save(self, number: int, snapshot: bytes) -> None:
        await self.wait()
        await self.log.save(number, snapshot)


class Checked(cluster.OwnClients):
    def send(self, outgoing: Outgoing) -> None:
        super().send(outgoing)
        check_rules(self.server.broker)


class Member(cluster.Server):
    """One of the servers, with a view of the log, and an outlet that checks what goes out."""

    def __init__(self, world: "ClusterWorld") -> None:
        super().__init__(
            engine="memory", lease=LEASE, cache_length=1000, high_water=HIGH_WATER, **world.settings
        )
        self.world = world
        self.order.shared = self.view = View(world.log)
        self.order.outlet = self.outlet = Checked(self)
        self.links: list[Link] = []
        self.handlers: set[asyncio.Task[None]] = set()

    @property
    def server(self) -> cluster.Server:
        return self

    @property
    def failed(self) -> bool:
        return self.order.duties.problem is not None

    def die(self) -> None:
        """The process ends: nothing more is written, neither to the network nor to the log."""
        for link in self.links:
            link.die()
        self.world.dead += [*self.order.duties.tasks, *self.outlet.waiting, *self.handlers]
        for task in self.world.dead:
            task.cancel()

    async def stop(self) -> None:
        """As at Ctrl-C."""
        for task in self.handlers:
            task.cancel()
        for link in self.links:
            link.abort()
        await asyncio.gather(*self.handlers, return_exceptions=True)
        await self.__aexit__()


class ClusterWorld(World):
    """What was promised by one server, of several."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.log = SimulatedLog(self.rng)
        self.settings: dict[str, Any] = {
            "ack_timeout": self.rng.choice([1.0, 60.0]),
            "log_limit": self.rng.choice([1000, 10_000]),
        }
        self.members: dict[int, Member] = {}
        self.dead: list[asyncio.Task[None]] = []  # whoever is forgotten here would be reported
        self.life = 1  # what was acknowledged is looked at in the end

    def connect(self, receive: Callable[[bytes], None]) -> Link:
        member = self.rng.choice(list(self.members.values()))
        link = Link(self.rng, receive, window=200)
        member.links.append(link)
        handler = serve.serve_client(member, link.reader, Connection(link.writer))
        task = asyncio.create_task(handler)
        member.handlers.add(task)
        task.add_done_callback(member.handlers.discard)
        return link

    @property
    def server(self) -> Any:
        return next(iter(self.members.values()), None)

    @server.setter
    def server(self, server: Any) -> None:
        """There are several."""

    # What the servers go through

    async def start(self) -> None:
        for place in range(SERVERS):
            await self.start_member(place)

    async def start_member(self, place: int) -> None:
        if place not in self.members:
            member = Member(self)
            await member.__aenter__()
            member.order.duties.server = None  # if it fails, the world goes on
            self.members[place] = member

    async def restart(self) -> None:
        await self.start_member(0)

    async def trouble(self, what: str, *how: Any) -> None:
        place = self.rng.randrange(SERVERS)
        match what, how:
            case "crash", ("now", _):
                self.kill_member(place)
            case "crash", ("before commit", number) if place in self.members:
                now = asyncio.get_running_loop().time()
                self.members[place].view.reachable_at = now + [0.1, 1, 3, 10][number % 4]
            case "crash", ("after commit", number):
                self.log.elect([0.1, 1, 3, 10][number % 4])
            case "stop", () if place in self.members:
                await self.members.pop(place).stop()
            case "fail", ():
                await self.start_member(place)

    def kill_member(self, place: int) -> None:
        if place in self.members:
            self.members.pop(place).die()

    # The promises

    async def finish(self) -> None:
        self.log.elected_at = 0.0
        for member in self.members.values():
            member.view.reachable_at = 0.0
        await asyncio.sleep(12)
        await self.start()
        for client in self.clients:
            if client.link:
                client.link.read(True)
        await asyncio.sleep(8)
        live = [session for session in self.sessions if is_live(session)]
        for client in self.clients:
            if client.link and not client.link.lost:
                client.link.end()
        await asyncio.sleep(5)
        await self.all_are_alike()
        await self.check(live, await self.inherit())
        for member in self.members.values():
            await member.stop()
        assert not any(member.failed for member in self.members.values())

    async def all_are_alike(self) -> None:
        while len({member.order.replica.number for member in self.members.values()}) > 1:
            await asyncio.sleep(0.001)
        late = Replica(fast.Broker(), lease=LEASE)
        for piece in (self.log.snapshot or (0, b""))[1].split(b"\n"):
            if piece:
                late.restore(piece)
        if not self.log.snapshot:
            late.broker.rules = self.server.broker.rules
        read = self.server.order.replica.number - self.log.dropped  # there may be one more
        for record in self.log.records[late.number - self.log.dropped : read]:
            late.apply(record)
        states = [whole_state(member.order.replica) for member in self.members.values()]
        for state in states:
            assert state == whole_state(late), "servers have come to different states"

    async def inherit(self) -> dict[str, list[histories.Message]]:
        for member in self.members.values():
            member.broker.rules = msgspec.structs.replace(member.broker.rules, ack_timeout=10**6)
        return await super().inherit()


def is_live(session: Session) -> bool:
    """Whether a subscription lasts to the end."""
    link = session.link
    mine: Client = session.client
    return bool(session.live and link and not link.is_closing()) and (
        mine.sessions.get(session.topic) is session
    )


def simulate(seeds: Iterable[int]) -> None:
    for seed in seeds:
        histories.simulate(seed, ClusterWorld)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("fifty", [0, 1])
def test_what_was_promised_holds_whichever_server_dies(fifty: int) -> None:
    simulate(range(50 * fifty, 50 * fifty + 50))


if __name__ == "__main__":
    from tqdm import trange

    histories.take_small_steps(setattr)
    simulate(trange(int(sys.argv[1]), unit=" histories"))
