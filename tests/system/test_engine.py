"""`cluster` on its engine: three nodes of NATS JetStream, which start here if the program is there."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from claim_bench import Bench, claims_of
from clusters import in_turn, numbers, shared_claims
from peer import Peer, msgs
from programs import started

from stages import serve
from stages.beyond import cluster
from stages.beyond.log import jetstream
from stages.beyond.log.jetstream import JetStream
from stages.beyond.log.shared import Record
from stages.lab.lessons.cluster import faults
from stages.lab.workbench import engine
from stages.lab.workbench.engine import Node, addresses, launch_cluster
from stages.patience import patient

pytestmark = pytest.mark.slow
needs_engine = pytest.mark.skipif(not engine.program(), reason=engine.why_none())


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Node]]:
    with launch_cluster() as nodes:
        yield nodes


@needs_engine
@pytest.mark.parametrize(("page", "claim", "count"), [*shared_claims(1), *shared_claims(2)])
async def test_shared_claims_hold(
    page: str, claim: str, count: int, nodes: list[Node], tmp_path: Path
) -> None:
    """With one server, and with each client at the next of two."""
    # Most claims make their own topics, and can share a log.
    log = f"claims-{next(numbers)}" if page == "durable" else f"claims-of-{count}"
    servers = in_turn(count, engine=addresses(nodes), log=log, cache_length=100)
    await Bench(servers, tmp_path, speaks_json=True).run(claims_of(page)[claim])


@needs_engine
async def test_nothing_is_lost_or_doubled_whoever_is_killed() -> None:
    """The leader of the log, and the servers, three times each; the election takes longer than the
    lease."""
    findings = await faults.kill_in_turns(3)
    assert findings.answered > 0
    assert findings.kills == {"leader": 3, "server": 3}
    assert (findings.lost, findings.doubled) == (0, 0)
    assert (findings.out_of_order, findings.redone) == (0, 0)


@needs_engine
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
async def test_a_server_that_was_stopped_for_longer_than_its_lease_sends_its_clients_away(
    nodes: list[Node],
) -> None:
    log = f"stopped-{next(numbers)}"
    settings = ["--engine", addresses(nodes), "--log", log, "--lease", "1", "--quiet"]
    with ExitStack() as stack:
        (first, port), (_, other) = [
            stack.enter_context(started("stages.beyond.cluster", "0", *settings)) for _ in range(2)
        ]
        alice = await Peer.connect("localhost", port, speaks_json=True)
        bob = await Peer.connect("localhost", other, speaks_json=True)
        with closing(alice), closing(bob):
            await alice.subscribe("jobs", ack=True)
            await bob.send("jobs", "a", delivery="one")
            assert msgs(await alice.heard()) == ["a"]
            first.send_signal(signal.SIGSTOP)
            jobs = await bob.subscribe("jobs", ack=True)
            while not jobs:
                jobs = await bob.heard()
            assert [(job["msg"], job.get("redelivered")) for job in jobs] == [("a", True)]
            first.send_signal(signal.SIGCONT)
            await alice.end()
        alice = await Peer.connect("localhost", port, speaks_json=True)
        with closing(alice):
            await alice.send("foo", "x", delivery="all")
            assert msgs(await alice.subscribe("foo")) == ["x"]


# The log


@pytest.fixture
async def log(nodes: list[Node]) -> AsyncIterator[JetStream]:
    log = JetStream(addresses(nodes), f"log-{next(numbers)}")
    await log.open({"lease": 5.0})
    yield log
    await log.close()


async def first(count: int, log: JetStream, after: int) -> list[Record]:
    found: list[Record] = []
    async for record in log.read(after):
        found.append(record)
        if len(found) == count:
            break
    return found


@needs_engine
async def test_records_come_in_order_and_a_snapshot_replaces_those_before_the_last_one(
    log: JetStream,
) -> None:
    assert await log.load() is None
    for number in range(10):
        await log.append(b"%d" % number)
    records = await first(10, log, 0)
    assert [record.number for record in records] == list(range(1, 11))
    assert [record.data for record in records] == [b"%d" % number for number in range(10)]
    assert [record.time for record in records] == sorted(record.time for record in records)
    await log.save(4, b"the state after four")
    assert [record.number for record in await first(1, log, 0)] == [1]
    snapshot = b"the state after eight" * 20_000  # of more than one chunk
    await log.save(8, snapshot)
    assert await log.load() == snapshot
    assert [record.number for record in await first(1, log, 0)] == [5]
    await log.save(6, b"too late")
    assert await log.load() == snapshot
    assert [record.number for record in await first(1, log, 0)] == [7]
    assert await log.snapshots() == [f"{number:020}" for number in (6, 8)]
    assert [record.number for record in await first(2, log, 8)] == [9, 10]


@needs_engine
async def test_an_engine_that_is_not_good_enough_is_refused(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = addresses(nodes)
    agreed = JetStream(where, "agreed")
    await agreed.open({"lease": 5.0})
    await agreed.close()
    with pytest.raises(ValueError, match=r"must agree: expected lease 5.0, got 6.0"):
        await JetStream(where, "agreed").open({"lease": 6.0})
    monkeypatch.setattr(jetstream, "OLDEST", (99, 0, 0))
    with pytest.raises(OSError, match=r"has version 2\..*expected 99.0.0 or newer"):
        await JetStream(where, "old").open({})
    monkeypatch.setattr(jetstream, "OLDEST", (2, 0, 0))
    monkeypatch.setattr(jetstream, "LARGEST", 2**30)
    with pytest.raises(
        OSError, match="the engine accepts 8388608 bytes at once: expected at least"
    ):
        await JetStream(where, "small").open({})


async def test_where_no_engine_is_a_server_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream, "START", 0.5)
    server = cluster.Server(engine="nats://127.0.0.1:1")
    with pytest.raises(OSError, match=r"the engine at nats://127\.0\.0\.1:1 can keep no log"):
        async with serve.listening(server, "127.0.0.1", 0):
            pass
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_ctrl_c_works_while_it_waits_for_the_engine() -> None:
    command = [sys.executable, "-m", "stages.beyond.cluster", "0"]
    with subprocess.Popen(
        [*command, "--engine", "nats://127.0.0.1:1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("Waiting for the engine at ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=patient(60))
    assert (process.returncode, err) == (0, "")
    assert out.endswith("stages.beyond.cluster stopped\n")


def test_a_log_needs_a_name_that_the_engine_takes() -> None:
    for name in ("", "a b", "a.b", "*", ">"):
        with pytest.raises(ValueError, match="a log's name is made of letters"):
            cluster.Server(engine="nats://localhost:4222", log=name)


# nats-py forgets the connection to a node that it leaves, which Python 3.15 does not like.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@needs_engine
async def test_a_node_that_falls_silent_is_left(nodes: list[Node]) -> None:
    """As in a power cut: nobody closes the connection."""
    server = cluster.Server(engine=addresses(nodes), log=f"silent-{next(numbers)}")
    async with serve.listening(server, "127.0.0.1", 0) as port:
        alice = await Peer.connect("127.0.0.1", port, speaks_json=True)
        with closing(alice):
            await alice.send("foo", "before", delivery="all")
            (silent,) = [node for node in nodes if lang_of_clients(node)]
            silent.process.send_signal(signal.SIGSTOP)
            try:
                await alice.send("foo", "meanwhile", delivery="all")
            finally:
                silent.process.send_signal(signal.SIGCONT)
            assert msgs(await alice.subscribe("foo")) == ["before", "meanwhile"]
    gc.collect()  # here, and not within the next test


def lang_of_clients(node: Node) -> list[str]:
    return [each["lang"] for each in node.ask("connz").get("connections", []) if each.get("lang")]


async def test_where_no_engine_is_the_lesson_shows_what_was_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "program", lambda: None)
    told: list[str] = []
    monkeypatch.setattr(faults, "picture", lambda findings, origin: told.append(origin))
    await faults.kill_here_or_show_recorded(1)
    (origin,) = told
    assert origin.startswith(f"recorded, since {engine.why_none()}")
    assert faults.recorded().answered > 0
