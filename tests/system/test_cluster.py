"""What `cluster` introduces: several servers on one log behave like one, whichever of them dies."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import peer
import pytest
from broken import cluster as wrong
from claim_bench import Bench, claims_of
from clusters import in_turn, numbers, shared_claims, whole_state
from histories import state_of
from hypothesis import settings
from model import Work
from peer import NoAnswer, Peer, msgs
from workers import works

from stages import serve
from stages.beyond import cluster, fast
from stages.beyond.broker import Rules
from stages.beyond.log import order
from stages.beyond.log.replica import CLIENTS, Proposal, Replica
from stages.beyond.log.shared import MemoryLog, Record, SharedLog, memory_log
from stages.lab.lessons.cluster.by_hand import LogByHand
from stages.patience import patient

pytestmark = pytest.mark.slow


def lines(*said: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in said)


def send(text: str, topic: str = "jobs", delivery: str = "one") -> dict[str, Any]:
    return {"command": "send", "topic": topic, "msg": text, "delivery": delivery}


def subscribe(topic: str = "jobs", **fields: Any) -> dict[str, Any]:
    return {"command": "subscribe", "topic": topic, **fields}


WORKS: dict[str, Any] = {"ack": True, "prefetch": 1}


# What servers make of a log, without a server


def join(log: LogByHand, *servers: str) -> None:
    for server in servers:
        log.write(server)


def replica(kind: type[Replica] = Replica) -> Replica:
    return kind(fast.Broker(Rules(ack_timeout=60.0)), lease=5.0)


def in_flight(of: Replica, topic: str = "jobs") -> list[str]:
    return [each.message.msg for each in of.broker.topics[topic].in_flight.values()]


def waiting(of: Replica, topic: str = "jobs") -> list[str]:
    return [message.msg for message in of.broker.topics[topic].waiting.values()]


def restored(of: Replica) -> Replica:
    copy = replica()
    for piece in of.snapshot():
        copy.restore(piece)
    return copy


def anything(rng: random.Random, log: LogByHand, servers: list[str]) -> None:
    """Something that a server may write."""
    server, topic = rng.choice(servers), rng.choice("ab")
    said = [
        subscribe(topic, **WORKS),
        subscribe(topic),
        send(f"{rng.random()}", topic, rng.choice(["all", "one"])),
        send(f"{rng.random()}", topic, "one"),
        {"command": "ack", "topic": topic, "index": rng.randrange(20)},
    ]
    log.time += rng.choice([0, 0.1, 1, 4])
    log.write(server, [(rng.randrange(4), rng.choice([lines(*rng.choices(said, k=3)), None]))])


@pytest.mark.parametrize("seed", range(5))
def test_all_come_to_the_same_state_and_so_does_one_that_comes_late(seed: int) -> None:
    rng, first, second = random.Random(seed), replica(), replica()
    log = LogByHand(first, second)
    join(log, "x", "y", "z")
    for _ in range(100):
        anything(rng, log, ["x", "y", "z"])
    late = restored(first)
    log.replicas.append(late)
    for _ in range(100):
        anything(rng, log, ["x", "y", "z"])
    assert whole_state(first) == whole_state(second) == whole_state(late)


def draws_the_same_lots(kind: type[Replica]) -> None:
    alike = [replica(kind), replica(kind)]
    log = LogByHand(*alike)
    join(log, "x")
    log.write("x", [(client, lines(subscribe(**WORKS))) for client in range(9)])
    log.say("x", 0, send("a"), send("b"), send("c"))
    assert state_of(alike[0].broker) == state_of(alike[1].broker)
    late = kind(fast.Broker(Rules(ack_timeout=60.0)), lease=5.0)
    for record in log.records:
        late.apply(record)
    assert state_of(late.broker) == state_of(alike[0].broker)


def does_once_what_comes_twice(kind: type[Replica]) -> None:
    one = replica(kind)
    log = LogByHand(one)
    join(log, "x")
    log.say("x", 0, send("a"))
    log.repeat()
    assert waiting(one) == ["a"]


def forgets_a_server_that_is_silent_for_a_lease(kind: type[Replica]) -> None:
    one = replica(kind)
    log = LogByHand(one)
    join(log, "x", "y")
    log.say("x", 0, subscribe(**WORKS), send("a"))
    for _ in range(5):
        log.time += 1
        log.write("y")
    assert (set(one.members), in_flight(one)) == ({"x", "y"}, ["a"])
    log.time += 1
    log.write("y")
    assert (set(one.members), waiting(one), in_flight(one)) == ({"y"}, ["a"], [])
    log.say("x", 0, send("b"))
    assert waiting(one) == ["a"], "what a forgotten server writes is done"


def buries_nobody_while_the_log_elects_a_leader(kind: type[Replica]) -> None:
    one = replica(kind)
    log = LogByHand(one)
    join(log, "x", "y")
    log.time += 1000
    log.write("y")
    log.write("x")
    assert set(one.members) == {"x", "y"}
    log.time -= 500  # the new leader's clock is behind
    log.write("x")
    log.write("y")
    assert (set(one.members), one.clock) == ({"x", "y"}, 2.5)


OF_REPLICAS: dict[Callable[[type[Replica]], None], type[Replica]] = {
    draws_the_same_lots: wrong.OwnLots,
    does_once_what_comes_twice: wrong.NoNumber,
    forgets_a_server_that_is_silent_for_a_lease: wrong.Immortal,
    buries_nobody_while_the_log_elects_a_leader: wrong.WallClock,
}


@pytest.mark.parametrize("claim", OF_REPLICAS)
def test_a_replica(claim: Callable[[type[Replica]], None]) -> None:
    claim(Replica)
    with pytest.raises(AssertionError):
        claim(OF_REPLICAS[claim])


def test_what_is_no_proposal_changes_nothing() -> None:
    one = replica()
    log = LogByHand(one)
    join(log, "x")
    for data in (b"hello", b"", b"\xc1", msgspec.msgpack.encode({"server": 1})):
        one.apply(Record(one.number + 1, log.time, data))
    assert (one.number, set(one.members)) == (5, {"x"})


def test_a_server_that_leaves_is_forgotten_at_once() -> None:
    one = replica()
    log = LogByHand(one)
    join(log, "x", "y")
    log.say("x", 0, subscribe(**WORKS), send("a"))
    log.write("x", leaves=True)
    assert (set(one.members), waiting(one)) == ({"y"}, ["a"])


def test_no_client_has_the_number_of_another_servers() -> None:
    one = replica()
    log = LogByHand(one)
    join(log, "x", "y")
    for server in "xyx":
        log.say(server, 0, subscribe("a"))
    assert one.broker.topics["a"].subscribers.clients == [2**32, 2 * 2**32]


# Servers on a log in memory


class Gate:
    """A server's way to the log; closed, it is as if the server were stopped, or dead."""

    def __init__(self, log: SharedLog) -> None:
        self.log = log
        self.passable = asyncio.Event()
        self.passable.set()
        self.open, self.save, self.load, self.close = log.open, log.save, log.load, log.close

    async def append(self, data: bytes) -> None:
        await self.passable.wait()
        await self.log.append(data)

    async def read(self, after: int) -> AsyncIterator[Record]:
        async for record in self.log.read(after):
            await self.passable.wait()
            yield record


class Cluster:
    """Servers on a log of their own, whose time goes on when the test says so."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.name = f"test {next(numbers)}"
        self.log = memory_log(self.name)
        self.time = 1000.0
        self.log.clock = lambda: self.time

    async def start(self, kind: type[cluster.Server] = cluster.Server, **settings: Any) -> Any:
        """A server, with its `port` and its `gate`."""
        server: Any = kind(engine="memory", log=self.name, **settings)
        server.order.shared = server.gate = Gate(server.order.shared)
        server.port = await self.stack.enter_async_context(serve.listening(server, "127.0.0.1", 0))
        return server

    async def connect(self, server: Any) -> Peer:
        peer = await Peer.connect("127.0.0.1", server.port, speaks_json=True)
        self.stack.callback(peer.close)
        return peer

    async def pass_time(self, seconds: int, *living: Any) -> None:
        """Let time go on, with a record each second from a server that only says that it is there,
        and one from each of the living."""
        name = f"bystander {next(numbers)}"
        for number in range(1, seconds + 1):
            self.time += 1
            await self.log.append(Proposal(name, number).encoded())
            for server in living:
                await (await self.connect(server)).settle()


@pytest.fixture
async def servers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(order, "FAREWELL", 0.05)  # those that are dead can't say goodbye
    async with AsyncExitStack() as stack:
        yield Cluster(stack)


async def same_state(*some: Any) -> None:
    """All have read the same records, and come to the same state."""
    while len({server.order.replica.number for server in some}) > 1:
        await asyncio.sleep(0)
    first, *others = [whole_state(server.order.replica) for server in some]
    for other in others:
        assert other == first


async def test_a_server_writes_nothing_while_nothing_happens(servers: Cluster) -> None:
    server = await servers.start(lease=60.0)
    alice = await servers.connect(server)
    await alice.subscribe("jobs", ack=True)
    await alice.send("jobs", "in flight", delivery="one")
    written = len(servers.log.records)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(servers.log.records) == written


def test_a_server_writes_well_within_its_lease_and_who_wrote_last_when_the_broker_is_due() -> None:
    server: Any = cluster.Server(engine="memory", log="nobody writes", lease=10.0)
    own = server.order
    own.last_written = 100.0
    assert own.due == 102.0
    server.broker.alarms.heap.append((50.5, "jobs"))
    own.replica.clock, own.read_at = 50.0, 101.0
    assert own.due == 102.0
    own.wrote_last = True
    assert own.due == 101.5
    server.broker.alarms.heap[0] = (90.0, "jobs")
    assert own.due == 102.0


async def test_what_a_client_of_an_earlier_life_says_is_not_done(servers: Cluster) -> None:
    server = await servers.start()
    number = server.order.member.number * CLIENTS
    assert await server.submit(number + CLIENTS, b"{}") == []
    server.order.member = None
    assert await server.submit(number, b"{}") == []


async def test_a_slow_reader_of_another_servers_messages_is_given_up(servers: Cluster) -> None:
    first, second = await servers.start(write_timeout=0.1), await servers.start()
    alice, bob = await servers.connect(first), await servers.connect(second)
    await alice.subscribe("foo")
    alice.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await bob.send("foo", *["x" * 200_000] * 100, delivery="all")
    async with asyncio.timeout(patient(30)):
        while first.connections:
            await asyncio.sleep(0.01)


async def test_a_client_waits_until_its_server_has_joined_again(servers: Cluster) -> None:
    server: Any = await servers.start()
    server.gate.passable.clear()
    server.order.end_life()
    waits, join = asyncio.Event(), server.order.joined.wait

    async def wait_to_join() -> None:
        waits.set()
        await join()

    server.order.joined.wait = wait_to_join
    alice = await servers.connect(server)
    asking = asyncio.create_task(alice.subscribe("foo"))
    await waits.wait()
    server.gate.passable.set()
    await asking


def test_an_engine_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nats")
    from stages.beyond.log.jetstream import JetStream

    assert isinstance(cluster.Server(engine="localhost:4222").order.shared, JetStream)
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="an engine needs nats-py: install it with"):
        cluster.Server(engine="localhost:4222")


async def test_who_is_at_one_server_hears_what_is_said_at_another(servers: Cluster) -> None:
    first, second = await servers.start(), await servers.start()
    alice, bob = await servers.connect(first), await servers.connect(second)
    await alice.subscribe("foo")
    await bob.send("foo", "a", "b", delivery="all")
    assert msgs(await alice.heard()) == ["a", "b"]
    assert await bob.heard() == []
    await same_state(first, second)


async def test_what_a_dead_server_had_goes_to_the_others_after_a_lease(servers: Cluster) -> None:
    first, second = await servers.start(), await servers.start()
    alice, bob = await servers.connect(first), await servers.connect(second)
    for worker in (alice, bob):
        await worker.subscribe("jobs", ack=True)
    await bob.send("jobs", *"abcdefgh", delivery="one")
    await bob.heard()
    had = works(await alice.heard())
    assert had
    first.gate.passable.clear()
    await servers.pass_time(4, second)
    assert await bob.heard() == []
    await servers.pass_time(3, second)
    assert works(await bob.heard()) == [(index, text, True) for index, text, _ in had]


async def test_a_server_that_was_paused_sends_its_clients_away_and_goes_on(
    servers: Cluster,
) -> None:
    first, second = await servers.start(), await servers.start()
    alice, bob = await servers.connect(first), await servers.connect(second)
    await alice.subscribe("foo")
    first.gate.passable.clear()
    alice.write_command(**send("of an earlier life", "foo", "all"))
    await servers.pass_time(8, second)
    first.gate.passable.set()
    assert await alice.end() == []
    await bob.send("foo", "x", delivery="all")
    alice = await servers.connect(first)
    assert msgs(await alice.subscribe("foo")) == ["x"]
    await same_state(first, second)


async def test_a_server_that_sleeps_while_the_log_is_shortened_loads_the_snapshot(
    servers: Cluster,
) -> None:
    first, second = await servers.start(log_limit=300), await servers.start(log_limit=10**9)
    bob = await servers.connect(first)
    await bob.send("foo", "a", delivery="all")
    alice = await servers.connect(second)
    second.gate.passable.clear()
    while servers.log.dropped <= second.order.replica.number:
        await bob.send("foo", "b", delivery="all")
    second.gate.passable.set()
    assert await alice.end() == []
    alice = await servers.connect(second)
    assert msgs(await alice.subscribe("foo"))[:2] == ["a", "b"]
    await same_state(first, second)


async def test_a_snapshot_that_comes_late_or_twice_changes_nothing() -> None:
    log = MemoryLog()
    for number in range(10):
        await log.append(b"%d" % number)
    for number in (4, 8, 8, 6):
        await log.save(number, b"after %d" % number)
    assert await log.load() == b"after 8"
    assert (log.dropped, [record.number for record in log.records]) == (4, [5, 6, 7, 8, 9, 10])


@pytest.mark.parametrize("lost", [1, 100])
async def test_a_server_whose_log_has_lost_records_ends(servers: Cluster, lost: int) -> None:
    stopped = asyncio.Event()

    async def serve_until_trouble() -> None:
        async with AsyncExitStack() as stack:
            servers.stack, stack_of_all = stack, servers.stack
            await servers.start()
            servers.stack = stack_of_all
            servers.log.records.clear()
            servers.log.dropped = 1 + lost  # the first was this server's
            await servers.log.append(Proposal("bystander", 1).encoded())
            await stopped.wait()

    with pytest.raises(OSError, match=f"the engine has lost records 2 to {1 + lost} of the log"):
        await asyncio.wait_for(serve_until_trouble(), 10)


async def test_the_servers_of_a_log_agree_on_what_changes_the_state(servers: Cluster) -> None:
    await servers.start()
    for other in ({"cache_length": 5}, {"ack_timeout": 1.0}, {"lease": 1.0}, {"seed": 7}):
        with pytest.raises(ValueError, match="the servers of a log must agree: expected "):
            await servers.start(**other)


async def test_a_server_that_stops_leaves_its_work_at_once(servers: Cluster) -> None:
    second = await servers.start()
    bob = await servers.connect(second)
    async with AsyncExitStack() as stack:
        with_own = Cluster(stack)
        with_own.name = servers.name
        first = await with_own.start()
        alice = await with_own.connect(first)
        await alice.subscribe("jobs", ack=True)
        await bob.send("jobs", "a", delivery="one")
        assert works(await alice.heard()) == [(0, "a", False)]
        alice.reset()
    assert works(await bob.subscribe("jobs", ack=True)) == [(0, "a", True)]


# Wrong servers


async def answers_only_what_the_log_has(kind: type[cluster.Server], servers: Cluster) -> None:
    server = await servers.start(kind)
    alice = await servers.connect(server)
    server.gate.passable.clear()
    alice.write_command(**send("a"), id=1)
    with pytest.raises(NoAnswer):
        await alice.settle()


async def expires_work_at_the_same_record(kind: type[cluster.Server], servers: Cluster) -> None:
    first, second = await servers.start(kind), await servers.start(kind)
    alice = await servers.connect(first)
    await alice.subscribe("jobs", ack=True)
    await alice.send("jobs", "a", delivery="one")
    await alice.heard()
    for server in (first, second):
        goes_off = getattr(server, "goes_off", server.order.inbox.wake.set)
        goes_off()  # its timer, whatever that does
    await alice.settle()
    await same_state(first, second)
    assert [each.broker.now for each in (first, second)] == [first.order.replica.clock] * 2


OF_SERVERS: dict[Callable[[Any, Cluster], Awaitable[None]], type[cluster.Server]] = {
    answers_only_what_the_log_has: wrong.Hasty,
    expires_work_at_the_same_record: wrong.Timers,
}


@pytest.mark.parametrize("claim", OF_SERVERS)
async def test_a_server(
    claim: Callable[[Any, Cluster], Awaitable[None]],
    servers: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer, "TIMEOUT", 1)
    await claim(cluster.Server, servers)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await claim(OF_SERVERS[claim], servers)


# The shared claims, with each client at the next of several servers


@pytest.mark.parametrize(("page", "claim", "count"), list(shared_claims(2)))
async def test_two_servers_pass_for_one(page: str, claim: str, count: int, tmp_path: Path) -> None:
    name = f"in turn {next(numbers)}"
    both = in_turn(count, engine="memory", log=name, cache_length=100)
    await Bench(both, tmp_path, speaks_json=True).run(claims_of(page)[claim])


class WorkOfThree(Work):
    """As in the model, with each client at the next of three servers."""

    def serve(self, server: serve.Handler) -> None:
        super().serve(in_turn(3, engine="memory", log=f"model {next(numbers)}", log_limit=500)())


TestWorkOfThree = WorkOfThree.TestCase
TestWorkOfThree.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)
