"""What a server stores, what it does when it cannot, and what it finds when it starts again."""

import asyncio
import json
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from peer import Message as Line
from peer import Peer, indexes, msgs, only_error
from programs import ROOT, started, talk
from workers import works

from stages import serve
from stages.beyond import acks, durable, fast
from stages.beyond.broker import Batch, Outgoing
from stages.beyond.broker.commands import Message
from stages.beyond.broker.in_flight import Topic
from stages.beyond.log import journal
from stages.beyond.log.file import Log
from stages.beyond.server.inbox import Inbox, Input
from stages.lab import launch
from stages.lab.lessons.durable import crash
from stages.patience import patient

# What follows needs more than a restart.


def send(msg: str, topic: str = "foo") -> dict[str, str]:
    return {"command": "send", "topic": topic, "msg": msg, "delivery": "all"}


def served(server: durable.Server) -> AbstractAsyncContextManager[int]:
    return serve.listening(server, "127.0.0.1", 0)


@asynccontextmanager
async def served_apart(server: durable.Server) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    """The port of a server, and the task that serves: it ends with the server, or else here."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with served(server) as bound:
            port.set_result(bound)
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    yield await port, task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def peers() -> AsyncIterator[Callable[[int], Awaitable[Peer]]]:
    """Connects to a port, as often as it is called."""
    async with AsyncExitStack() as stack:

        async def connect(port: int) -> Peer:
            peer = await Peer.connect("127.0.0.1", port, speaks_json=True)
            stack.callback(peer.close)
            return peer

        yield connect


Peers = Callable[[int], Awaitable[Peer]]


class Watched(durable.Server):
    """A server whose disk can be held up, and which notes what is stored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.journal.in_thread = self.in_thread
        self.batches: list[Batch] = []
        self.done: list[str] = []
        self.disk_is_free, self.disk_is_busy = asyncio.Event(), asyncio.Event()
        self.disk_is_free.set()

    async def in_thread(self, append: Callable[..., None], batch: Batch | None, *rest: Any) -> None:
        self.batches += [batch] if batch else []
        self.disk_is_busy.set()
        await self.disk_is_free.wait()
        append(batch, *rest)
        self.done.append("stored")

    def send(self, outgoing: Outgoing) -> None:
        self.done.append("sent")
        super().send(outgoing)


async def hear(peer: Peer, **wanted: Any) -> Line:
    """Wait for a line with these fields."""
    while not wanted.items() <= (line := await peer.receive()).items():
        pass
    return line


async def test_nothing_is_said_before_it_is_on_disk(tmp_path: Path, peers: Peers) -> None:
    server = Watched(data=str(tmp_path / "messages.db"))
    async with served(server) as port:
        alice, bob = await peers(port), await peers(port)
        await alice.subscribe("foo")
        server.disk_is_free.clear()
        server.disk_is_busy.clear()
        line = bob.line(**send("hello"))
        bob.writer.write(line)
        await server.disk_is_busy.wait()
        server.done.clear()
        server.disk_is_free.set()
        await hear(alice, msg="hello")
        assert (await hear(bob, id=json.loads(line)["id"]))["success"] is True
    assert server.done[:2] == ["stored", "sent"]


async def test_commands_that_come_while_the_disk_is_busy_are_stored_together(
    tmp_path: Path, peers: Peers
) -> None:
    server = Watched(data=str(tmp_path / "messages.db"))
    async with served(server) as port:
        clients = [await peers(port) for _ in range(20)]
        for client in clients:
            await client.settle()
        server.disk_is_free.clear()
        server.disk_is_busy.clear()
        clients[0].writer.write(clients[0].line(**send("first")))
        await server.disk_is_busy.wait()
        before = len(server.batches)
        for client in clients[1:]:
            client.writer.write(client.line(**send("together")))
        while len(server.journal.inbox.inputs) < 19:
            await asyncio.sleep(0)
        server.disk_is_free.set()
        for client in clients:
            await client.settle()
        assert len(server.batches[before].inputs) == 19


async def test_on_a_full_disk_nothing_is_acknowledged_or_delivered(
    tmp_path: Path, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    data = str(tmp_path / "messages.db")
    server = durable.Server(data=data)
    async with served_apart(server) as (port, ended):
        alice, bob, carol = [await peers(port) for _ in range(3)]
        await alice.subscribe("foo")
        await bob.send("foo", "stored", delivery="all")
        assert msgs(await alice.heard()) == ["stored"]
        server.journal.file.database.execute("PRAGMA max_page_count = 1")  # as if it were full
        with caplog.at_level(logging.ERROR, "stages"):
            bob.writer.write(bob.line(**send("x" * 50_000)))
            assert only_error(await bob.rest()) == "Could not store "
        assert only_error(await alice.rest()) == "Could not store "
        assert only_error(await carol.rest()) == "Could not store "
        full = f"messages in {data}: database or disk is full"
        with pytest.raises(OSError, match=f"^cannot store {full}: start me again$"):
            await ended
    assert caplog.messages == [f"Cannot store {full}"]
    async with served(durable.Server(data=data)) as port:
        alice = await peers(port)
        assert msgs(await alice.subscribe("foo")) == ["stored"]


async def test_when_the_disk_fails_nobody_is_left_waiting(tmp_path: Path, peers: Peers) -> None:
    class Failing(Watched):
        async def in_thread(self, append: Callable[..., None], *what: Any) -> None:
            self.disk_is_busy.set()
            await self.disk_is_free.wait()
            if self.failing:
                raise OSError("the disk fails")
            append(*what)

        failing = False

    server = Failing(data=str(tmp_path / "messages.db"))
    async with served_apart(server) as (port, ended):
        clients = [await peers(port) for _ in range(3)]
        for client in clients:
            await client.settle()
        server.disk_is_free.clear()
        server.disk_is_busy.clear()
        server.failing = True
        clients[0].writer.write(clients[0].line(**send("being stored")))
        await server.disk_is_busy.wait()
        for client in clients[1:]:
            client.writer.write(client.line(**send("waiting")))
        while len(server.journal.inbox.inputs) < 2:
            await asyncio.sleep(0)
        server.disk_is_free.set()
        for client in clients:
            assert only_error(await client.rest()) == "Could not store "
        with pytest.raises(OSError, match="the disk fails"):
            await ended
        assert list(server.journal.inbox.inputs) == []


async def test_the_same_seed_gives_the_same_picks(tmp_path: Path) -> None:
    async def picks(file: str) -> list[int]:
        with launch(durable.Server(data=str(tmp_path / file), seed=42)) as lab:
            boss, alice, bob = [await lab.connect(name) for name in ("boss", "alice", "bob")]
            for worker in (alice, bob):
                await worker.subscribe("jobs")
            for number in range(20):
                await boss.send("jobs", str(number), delivery="one")
            return [int(message["msg"]) for message in await alice.all_messages()]

    assert await picks("one.db") == await picks("two.db")


@pytest.mark.parametrize("file", ["", "messages.db"])
@pytest.mark.parametrize("kind", [durable.Server, fast.Server])
async def test_work_that_nobody_does_in_time_goes_to_another(
    kind: type[durable.Server] | type[fast.Server], file: str, tmp_path: Path
) -> None:
    if not file and kind is durable.Server:
        pytest.skip("it always has a file")
    server = kind(ack_timeout=0.01, data=str(tmp_path / file) if file else "")
    with launch(server) as lab:
        boss, alice, bob = [await lab.connect(name) for name in ("boss", "alice", "bob")]
        await alice.subscribe("jobs", ack=True)
        await boss.send("jobs", "wash", delivery="one")
        await bob.subscribe("jobs", ack=True)
        assert (await bob.next_message())["redelivered"]


async def test_a_server_that_cannot_start_leaves_the_file_to_the_next(tmp_path: Path) -> None:
    class Refusing(acks.Broker):
        def carry_out(self, batch: Batch) -> Any:
            raise ZeroDivisionError("in my class")

    class Broken(durable.Server):
        broker_class = Refusing

    data = str(tmp_path / "messages.db")
    async with served(durable.Server(data=data)):
        pass
    with pytest.raises(ZeroDivisionError):
        async with served(Broken(data=data)):
            pass
    async with served(durable.Server(data=data)):
        pass


async def test_a_server_that_stops_leaves_a_snapshot_and_no_log(
    tmp_path: Path, peers: Peers
) -> None:
    data = str(tmp_path / "messages.db")
    async with served(durable.Server(data=data)) as port:
        alice = await peers(port)
        await alice.send("foo", "stored", delivery="all")
    log = Log(data)
    log.open()
    assert list(log.load(acks.Broker.pieces))
    said = [said for batch in log.read() for _, said in batch.inputs]
    log.close()
    assert said == []


@pytest.mark.parametrize("gone", [Path.unlink, lambda path: path.rename(path.with_suffix(".old"))])
async def test_a_file_that_is_removed_or_renamed_is_noticed(
    gone: Callable[[Path], object], tmp_path: Path, peers: Peers
) -> None:
    data = tmp_path / "messages.db"
    async with served_apart(durable.Server(data=str(data))) as (port, ended):
        alice = await peers(port)
        await alice.send("foo", "stored", delivery="all")
        gone(data)
        alice.writer.write(alice.line(**send("lost?")))
        assert only_error(await alice.rest()) == "Could not store "
        with pytest.raises(OSError, match="cannot store messages in "):
            await ended


async def test_a_server_whose_file_is_gone_says_so_when_it_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "messages.db"
    with (
        caplog.at_level(logging.ERROR, "stages"),
        pytest.raises(OSError, match=f"^cannot store messages in {data}: "),
    ):
        async with served(durable.Server(data=str(data))):
            data.unlink()
    (message,) = caplog.messages
    assert message.startswith(f"Cannot store messages in {data}: ")


async def test_a_bug_in_a_class_that_extends_it_stops_it_and_is_told(
    tmp_path: Path, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class BuggyBroker(acks.Broker):
        def send_to_all(self, topic: Topic, message: Message) -> None:
            raise ZeroDivisionError("in my class")

    class Buggy(durable.Server):
        broker_class = BuggyBroker

    with caplog.at_level(logging.ERROR, "stages"):
        async with served_apart(Buggy(data=str(tmp_path / "messages.db"))) as (port, ended):
            alice = await peers(port)
            alice.writer.write(alice.line(**send("x")))
            assert only_error(await alice.rest()) == "Could not store "
            with pytest.raises(OSError, match=r"^ZeroDivisionError: in my class in BuggyBroker\."):
                await ended
    (message,) = caplog.messages
    assert message.startswith("Failed: ZeroDivisionError: in my class in BuggyBroker.send_to_all, ")


def said(data: bytes | None) -> Input:
    return Input(1, data, asyncio.get_running_loop().create_future())


async def test_a_failing_disk_is_nothing_to_one_who_waits_no_longer(tmp_path: Path) -> None:
    server = durable.Server(data=str(tmp_path / "messages.db"))
    gone, waiting = said(b"x"), said(b"y")
    gone.done.cancel()
    server.journal.give_up(OSError("the disk fails"), [gone, waiting])
    assert waiting.done.result() == []


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (b"x" * 2**18, 4),
        (b"x" * (2**20 - 1), 2),
        (b"\n" * 666, 3),
        (b"\n" * 999, 2),
        (b"\n" * 1998, 2),
        (None, 10),
    ],
)
async def test_a_batch_is_neither_long_nor_large(data: bytes | None, most: int) -> None:
    inbox = Inbox()
    inbox.inputs.extend(said(data) for _ in range(100))
    assert len(inbox.take()) == most
    assert len(inbox.inputs) == 100 - most


@pytest.mark.parametrize("step", [21, 30])
async def test_a_snapshot_is_stored_in_steps(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SNAPSHOT_STEP", step)
    of_a_server = durable.Server(data=str(tmp_path / "messages.db")).journal
    of_a_server.snapshot = iter(["8 bytes."] * 7)  # and two for the quotes
    steps = []
    while pieces := of_a_server.next_pieces():
        steps.append(len(pieces))
    assert steps == [3, 3, 1]


@pytest.mark.slow
async def test_the_log_is_replaced_by_snapshots_and_the_file_stays_small(
    tmp_path: Path, peers: Peers
) -> None:
    settings = {"data": str(tmp_path / "messages.db"), "cache_length": 10, "log_limit": 100_000}
    async with served(durable.Server(**settings)) as port:  # type: ignore[arg-type]
        alice = await peers(port)
        for n in range(100):
            await alice.send("foo", *[f"{n} ".ljust(20_000, "x")] * 5, delivery="all")
    assert (tmp_path / "messages.db").stat().st_size < 2_000_000  # of 10 MB that were sent
    async with served(durable.Server(**settings)) as port:  # type: ignore[arg-type]
        alice = await peers(port)
        assert indexes(await alice.subscribe("foo")) == list(range(490, 500))


async def test_settings_may_change_from_one_start_to_the_next(tmp_path: Path, peers: Peers) -> None:
    data = str(tmp_path / "messages.db")
    async with served(durable.Server(data=data, cache_length=5)) as port:
        alice = await peers(port)
        await alice.send("foo", *map(str, range(10)), delivery="all")
        server_is_killed = sqlite3.connect(
            data
        )  # as the file is now, without the snapshot of a clean stop
        server_is_killed.close()
    async with served(durable.Server(data=data, cache_length=3)) as port:
        alice = await peers(port)
        assert msgs(await alice.subscribe("foo")) == list("56789")
        await alice.send("foo", "x", delivery="all")
        await alice.heard()
        assert msgs(await alice.subscribe("foo")) == ["8", "9", "x"]


async def test_a_text_that_is_no_text_survives(tmp_path: Path, peers: Peers) -> None:
    topic, data = "half a pair \ud800", str(tmp_path / "messages.db")
    for expected in (0, 1, 2):
        async with served(durable.Server(data=data)) as port:
            alice = await peers(port)
            assert msgs(await alice.subscribe(topic)) == ["\udc00"] * expected
            await alice.send(topic, "\udc00", delivery="all")


def run(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-X",
        "dev",
        "-W",
        "error",
        "-m",
        "stages.beyond.durable",
        "0",
        "--data",
        str(data),
    ]
    return subprocess.run(
        [*command, "--quiet", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=patient(60),
    )


def garbage(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def folder(path: Path) -> None:
    path.mkdir()


def changed(path: Path, sql: str, *values: Any) -> None:
    """A file of ours, changed by somebody."""
    log = Log(str(path))
    log.open()
    for n in range(3):
        log.append(Batch(n, [(1, b"hello")]))
    log.database.execute(sql, values)
    log.close()


def of_another_program(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executescript("CREATE TABLE topics (name TEXT)")
    database.close()


def of_a_later_version(path: Path) -> None:
    changed(path, "PRAGMA user_version = 3")


def damaged(path: Path) -> None:
    changed(path, "UPDATE log SET batch = ? WHERE number = 2", b"x")


def without_its_snapshot(path: Path) -> None:
    log = Log(str(path))
    log.open()
    log.begin_snapshot()
    log.append(None, [b"[]"], ends=True)
    log.database.execute("DELETE FROM snapshot")
    log.close()


def with_a_gap(path: Path) -> None:
    changed(path, "DELETE FROM log WHERE number = 2")


def meaningless(path: Path) -> None:
    changed(path, "UPDATE log SET batch = ?, checksum = ? WHERE number = 2", b"x", zlib.crc32(b"x"))


def without_a_table(path: Path) -> None:
    changed(path, "DROP TABLE snapshot")


def read_only(path: Path) -> None:
    if sys.platform == "win32" or os.geteuid() == 0:
        pytest.skip("nothing is read-only for this user")
    of_another_program(path)
    path.chmod(0o400)


UNUSABLE: dict[Callable[[Path], None], str] = {
    garbage: "file is not a database",
    folder: "unable to open database file",
    of_another_program: "it has format 0, of another version or program: expected format 2",
    of_a_later_version: "it has format 3, of another version or program: expected format 2",
    damaged: "the file is damaged: a row is not as it was written",
    without_its_snapshot: "the file is damaged: the snapshot has 0 rows of 1",
    with_a_gap: "the file is damaged: batch 2 is missing",
    meaningless: "the file is damaged: ",
    without_a_table: "the file is damaged: no such table: snapshot",
    read_only: "attempt to write a readonly database",
}


@pytest.mark.slow
@pytest.mark.parametrize("make", UNUSABLE, ids=lambda make: make.__name__)
def test_a_file_that_cannot_be_used_is_one_clear_line(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    data = tmp_path / "messages.db"
    make(data)
    result = run(data)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"cannot keep messages in {data}: {UNUSABLE[make]}" in result.stderr


@pytest.mark.slow
def test_the_command_line_tells_where_the_messages_are_and_shares_them_with_nobody(
    tmp_path: Path,
) -> None:
    data = tmp_path / "messages.db"
    with started("stages.beyond.durable", "0", "--data", str(data)):
        result = run(data)
    assert f"cannot keep messages in {data}: another process uses it" in result.stderr


class Life:
    """What a client did to a server that is killed at some moment, and what it knows of it."""

    def __init__(self) -> None:
        self.stored: set[str] = set()  # news that were answered with success
        self.unsure: set[str] = set()  # sent, but not answered
        self.seen: dict[int, str] = {}  # news by index
        self.jobs: set[str] = set()  # jobs that were answered with success
        self.done: set[str] = set()  # jobs whose acknowledgement was answered with success
        self.perhaps_done: set[str] = set()
        self.work: list[Line] = []  # what it holds now

    async def verify(self, client: Peer) -> None:
        """After a restart: every message is there once, under an index of its own, and undone work
        comes again."""
        replay = await client.subscribe("news", last_seen=max(self.seen, default=-1))
        assert all(message["index"] not in self.seen for message in replay)
        self.seen.update({message["index"]: message["msg"] for message in replay})
        times = Counter(self.seen.values())
        assert {text for text in self.stored if times[text] != 1} == set()
        assert set(times) <= self.stored | self.unsure
        assert max(times.values(), default=1) == 1
        self.work = await client.subscribe("jobs", ack=True)
        work = msgs(self.work)
        assert len(work) == len(set(work))
        assert self.jobs - self.done - self.perhaps_done <= set(work)
        assert not self.done & set(work)

    async def load(self, client: Peer, number: int, answers: int) -> None:
        """Send acknowledgements, news and jobs all at once, and read only so many lines."""
        asked: dict[int, tuple[set[str], str]] = {}

        def ask(known: set[str], unsure: set[str], text: str, **command: Any) -> None:
            line = client.line(**command)
            asked[json.loads(line)["id"]] = known, text
            unsure.add(text)
            client.writer.write(line)

        for message in self.work[::2]:
            acknowledgement = {"command": "ack", "topic": "jobs", "index": message["index"]}
            ask(self.done, self.perhaps_done, message["msg"], **acknowledgement)
        for n in range(20):
            ask(
                self.stored,
                self.unsure,
                f"{number}.{n}",
                command="send",
                topic="news",
                msg=f"{number}.{n}",
            )
            job = {"command": "send", "topic": "jobs", "msg": f"{number}.{n}", "delivery": "one"}
            ask(self.jobs, set(), f"{number}.{n}", **job)
        for _ in range(answers):
            message = await client.receive()
            if message.get("success") and message.get("id") in asked:
                known, text = asked[message["id"]]
                known.add(text)


@pytest.mark.slow
async def test_after_fifty_kills_under_load_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    rng, life = random.Random(42), Life()
    for number in range(50):
        server = crash.Server("durable", "--data", str(tmp_path / "messages.db"))
        client = await Peer.connect("127.0.0.1", server.port, speaks_json=True)
        try:
            await life.verify(client)
            await life.load(client, number, answers=rng.randrange(80))
        finally:
            server.kill()
            client.close()
    assert len(life.stored) > 100
    assert len(life.done) > 50


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there, an open file cannot be removed")
@pytest.mark.parametrize("name", ["durable", "fast"])
def test_a_server_that_cannot_store_ends_with_a_line_and_an_exit_code(
    name: str, tmp_path: Path
) -> None:
    data = tmp_path / "messages.db"
    with started(f"stages.beyond.{name}", "0", "--quiet", "--data", str(data)) as (process, port):
        data.unlink()
        line = json.dumps(send("lost?")) + "\n"
        assert json.loads(talk(port, line)) == {"success": False, "reason": "Could not store"}
        out, err = process.communicate(timeout=patient(60))
    assert process.returncode == 1
    assert err.startswith(f"stages.beyond.{name}: cannot store messages in {data}: ")
    assert err.endswith(": start me again\n")
    assert err.count("\n") == 1
    assert "cannot serve" not in out + err


FORMATS = Path(__file__).parent / "files"


async def test_a_file_that_was_stopped_cleanly_can_be_read_by_each_later_version(
    tmp_path: Path, peers: Peers
) -> None:
    """Made by the version of that format: five messages for all, of which three are cached; four
    for one, of which one is done, and one was in flight."""
    for file in FORMATS.glob("format_*.db"):
        shutil.copy(file, tmp_path / file.name)
        server = durable.Server(data=str(tmp_path / file.name), cache_length=3)
        async with served(server) as port:
            alice = await peers(port)
            news = await alice.subscribe("news", last_seen=0)
            assert [(each["index"], each["msg"]) for each in news] == [
                (number, f"naïve {number}") for number in (2, 3, 4)
            ]
            jobs = await alice.subscribe("jobs", ack=True)
            assert works(jobs) == [(1, "1", True), (2, "2", True), (3, "3", False)]
            missed = [answer["missed"] for answer in alice.answers if "missed" in answer]
            assert missed == [1]
