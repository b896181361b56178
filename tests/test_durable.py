"""What `durable` introduces."""

import asyncio
import json
import logging
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from peer import Message, Peer, msgs, only_error
from test_acks import ack, works
from test_last_seen import indexes
from test_slow_consumers import Stuck, some_turns_of_the_loop

from stages import serve
from stages.beyond import durable
from stages.beyond.storage import SCHEMA, Changes
from stages.lab import crash

Restart = Callable[[], Awaitable[Peer]]
ROOT = Path(__file__).parent.parent


async def test_messages_wait_across_a_restart(restart: Restart) -> None:
    """Keep messages and indexes in a file; a new process continues with them."""
    alice = await restart()
    await alice.send("foo", "a", "b", delivery="all")
    await alice.send("bar", "job", delivery="one")
    alice = await restart()
    assert msgs(await alice.subscribe("foo")) == ["a", "b"]
    await alice.send("foo", "c", delivery="all")
    assert indexes(await alice.heard()) == [2]
    alice = await restart()
    assert msgs(await alice.subscribe("foo", last_seen=0)) == ["b", "c"]
    assert msgs(await alice.subscribe("bar")) == ["job"]
    alice = await restart()
    assert await alice.subscribe("bar") == []


async def test_an_index_is_never_used_twice(restart: Restart) -> None:
    """Store the next index also of messages that are not kept."""
    alice = await restart()
    await alice.subscribe("foo")
    await alice.send("foo", "a", delivery="one")
    await alice.send("foo", "b", delivery="all", cache=False)
    alice = await restart()
    assert await alice.subscribe("foo") == []
    await alice.send("foo", "c", delivery="all")
    assert indexes(await alice.heard()) == [2]


async def test_work_that_was_not_acknowledged_comes_again_after_a_restart(restart: Restart) -> None:
    """Store what workers hold; after a restart it is work that has come back."""
    alice = await restart()
    await alice.subscribe("jobs", ack=True, prefetch=2)
    await alice.send("jobs", "a", "b", "c", delivery="one")
    await ack(alice, "jobs", 0)
    alice = await restart()
    assert works(await alice.subscribe("jobs", ack=True)) == [(1, "b", True), (2, "c", True)]
    await ack(alice, "jobs", 2)
    alice = await restart()
    assert works(await alice.subscribe("jobs")) == [(1, "b", True)]
    alice = await restart()
    assert await alice.subscribe("jobs") == []


async def test_what_was_missed_is_known_after_a_restart(restart: Restart) -> None:
    """Store how many messages the cache has lost."""
    alice = await restart()
    await alice.send("foo", *["x"] * 110, delivery="all")
    alice = await restart()
    await alice.subscribe("foo", last_seen=3)
    assert [answer["missed"] for answer in alice.answers if "missed" in answer] == [6]


# What follows needs more than a restart.


class Recorder(Stuck):
    """A client without a network."""

    @property
    def lines(self) -> list[Message]:
        return [json.loads(line) for line in self.unsent.splitlines()]


async def test_nothing_is_told_before_it_is_on_disk(tmp_path: Path) -> None:
    server, alice, bob = durable.Server(data=str(tmp_path / "messages.db")), Recorder(), Recorder()
    async with server:
        withheld = durable.Withheld(alice, server)
        server.handle(b'{"command": "subscribe", "topic": "foo"}', withheld)
        await until_stored(server)
        commit, may_commit, committing = server.storage.commit, threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow_commit(changes: Changes) -> None:
            loop.call_soon_threadsafe(committing.set)
            may_commit.wait()
            commit(changes)

        server.storage.commit = slow_commit  # type: ignore[method-assign]
        send = b'{"command": "send", "topic": "foo", "msg": "hello", "delivery": "all"}'
        server.handle(send, durable.Withheld(bob, server))
        await committing.wait()
        await some_turns_of_the_loop()
        told = alice.lines, bob.lines
        may_commit.set()
        assert told == ([{"success": True}], [])
        await until_stored(server)
        assert msgs(alice.lines[1:]) == ["hello"]
        assert bob.lines == [{"success": True}]


async def until_stored(server: durable.Server) -> None:
    while server.committing:
        await server.committing


async def test_commands_that_come_together_are_committed_together(tmp_path: Path) -> None:
    server, alice = durable.Server(data=str(tmp_path / "messages.db")), Recorder()
    async with server:
        commit, commits = server.storage.commit, list[Changes]()

        def counted_commit(changes: Changes) -> None:
            commits.append(changes)
            commit(changes)

        server.storage.commit = counted_commit  # type: ignore[method-assign]
        for _ in range(100):
            send = b'{"command": "send", "topic": "foo", "msg": "hello", "delivery": "all"}'
            server.handle(send, durable.Withheld(alice, server))
        await until_stored(server)
        assert len(alice.lines) == 100
        assert len(commits) == 1


async def test_on_a_full_disk_nothing_is_acknowledged_or_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = str(tmp_path / "messages.db")
    server = durable.Server(data=data)
    async with serve.listening(server, "127.0.0.1", 0) as port:
        alice, bob, carol = [await Peer.connect("127.0.0.1", port, speaks_json=True) for _ in range(3)]
        await alice.subscribe("foo")
        await bob.send("foo", "stored", delivery="all")
        assert msgs(await alice.heard()) == ["stored"]
        server.storage.database.execute("PRAGMA max_page_count = 1")  # as if the disk were full
        with caplog.at_level(logging.ERROR, "stages"):
            bob.writer.write(bob.line(command="send", topic="foo", msg="x" * 50_000))
            assert only_error(await bob.rest()) == "Could not store "
        assert only_error(await alice.rest()) == "Could not store "
        carol.writer.write(carol.line(command="subscribe", topic="foo"))
        assert only_error(await carol.rest()) == "Could not store "
        for peer in (alice, bob, carol):
            peer.close()
    assert [record.getMessage().partition(data)[2] for record in caplog.records] == [
        ": database or disk is full: start me again"
    ]
    async with serve.listening(durable.Server(data=data), "127.0.0.1", 0) as port:
        alice = await Peer.connect("127.0.0.1", port, speaks_json=True)
        assert msgs(await alice.subscribe("foo")) == ["stored"]
        alice.close()


async def test_who_is_too_slow_is_told_also_here(tmp_path: Path) -> None:
    server, stuck = durable.Server(data=str(tmp_path / "messages.db"), outbox_limit=100, patience=0.001), Stuck()
    async with server:
        withheld = durable.Withheld(stuck, server)
        for _ in range(2):
            server.deliver({"topic": "foo", "msg": "x" * 200, "delivery": "all"}, [withheld])
        await server.late[withheld].task
        assert stuck.unsent.endswith(b'{"success": false, "reason": "Too slow"}\r\n')


async def test_the_file_does_not_grow_without_end(tmp_path: Path) -> None:
    server = durable.Server(data=str(tmp_path / "messages.db"), cache_length=10)
    async with serve.listening(server, "127.0.0.1", 0) as port:
        alice = await Peer.connect("127.0.0.1", port, speaks_json=True)
        for _ in range(5):
            await alice.send("foo", *["x" * 20_000] * 100, delivery="all")
        alice.close()
    size = sum(path.stat().st_size for path in tmp_path.iterdir())  # noqa: ASYNC240
    assert size < 6_000_000  # of 10 MB that were sent; SQLite's log has up to 4 MB before it starts over


def run(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "stages.beyond.durable", "0", "--data", str(data)]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30)


def garbage(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def folder(path: Path) -> None:
    path.mkdir()


def of_another_program(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executescript("CREATE TABLE topics (name TEXT)")
    database.close()


def damaged(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executescript(SCHEMA)
    database.execute('INSERT INTO messages VALUES (\'"foo"\', 0, \'{"msg": "x"}\')')
    database.commit()
    database.close()


def mixed_up(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executescript(SCHEMA)
    message = json.dumps({"topic": "foo", "msg": "x", "delivery": "all", "index": 1})
    database.execute("INSERT INTO messages VALUES (?, ?, ?)", ('"foo"', 0, message))
    database.commit()
    database.close()


def read_only(path: Path) -> None:
    if sys.platform == "win32" or os.geteuid() == 0:
        pytest.skip("nothing is read-only for this user")
    of_another_program(path)
    path.chmod(0o400)


UNUSABLE: dict[Callable[[Path], None], str] = {
    garbage: "file is not a database",
    folder: "unable to open database file",
    of_another_program: "no such column",
    damaged: "Object missing required field `topic`",
    mixed_up: 'message 0 of "foo" is another one',
    read_only: "attempt to write a readonly database",
}


@pytest.mark.parametrize("make", UNUSABLE, ids=lambda make: make.__name__)
def test_a_file_that_cannot_be_used_is_one_clear_line(make: Callable[[Path], None], tmp_path: Path) -> None:
    data = tmp_path / "messages.db"
    make(data)
    result = run(data)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"cannot keep messages in {data}: {UNUSABLE[make]}" in result.stderr


def test_the_command_line_tells_where_the_messages_are_and_shares_them_with_nobody(tmp_path: Path) -> None:
    data = tmp_path / "messages.db"
    first = crash.Server("durable", "--data", str(data))
    try:
        assert first.process.stdout
        assert first.process.stdout.readline() == f"messages are kept in {data}\n"
        assert f"cannot keep messages in {data}: another process uses it" in run(data).stderr
    finally:
        first.kill()


class Life:
    """What a client did to a server that is killed at some moment, and what it knows of it."""

    def __init__(self) -> None:
        self.stored: set[str] = set()  # news that were answered with success
        self.unsure: set[str] = set()  # sent, but not answered
        self.seen: dict[int, str] = {}  # news by index
        self.jobs: set[str] = set()  # jobs that were answered with success
        self.done: set[str] = set()  # jobs whose acknowledgement was answered with success
        self.perhaps_done: set[str] = set()
        self.work: list[Message] = []  # what it holds now

    async def verify(self, client: Peer) -> None:
        """After a restart: every message is there once, under an index of its own, and undone work comes again."""
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
            ask(self.stored, self.unsure, f"{number}.{n}", command="send", topic="news", msg=f"{number}.{n}")
            job = {"command": "send", "topic": "jobs", "msg": f"{number}.{n}", "delivery": "one"}
            ask(self.jobs, set(), f"{number}.{n}", **job)
        for _ in range(answers):
            message = await client.receive()
            if message.get("success") and message.get("id") in asked:
                known, text = asked[message["id"]]
                known.add(text)


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
