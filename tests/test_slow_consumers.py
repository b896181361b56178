"""What `slow_consumers` introduces."""

import asyncio
import json
import logging
from typing import Any

import pytest
from conftest import Connect
from peer import Peer, fresh_topic, msgs

from stages.beyond import slow_consumers


async def flood(sender: Peer, topic: str) -> None:
    """Send 16 MB, more than the system's own buffers hold."""
    line = sender.line(command="send", topic=topic, msg="x" * 50_000, cache=False)
    for _ in range(320):
        sender.writer.write(line)
        await sender.writer.drain()
    await sender.settle()


async def test_a_subscriber_that_does_not_read_is_disconnected(connect: Connect) -> None:
    """If a subscriber has over 1 MiB unsent, read no more from the sender; if that lasts a second, disconnect it."""
    topic, stuck, sender = fresh_topic(), await connect(), await connect()
    await stuck.subscribe(topic)
    stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await flood(sender, topic)
    stuck.writer.write(b"quit\n")
    stuck.writer.transport.resume_reading()  # type: ignore[attr-defined]
    received = 0
    try:
        while data := await stuck.reader.read(2**20):
            received += len(data)
    except OSError:
        pass  # the connection was reset
    assert received < 16_000_000


async def test_a_subscriber_that_was_too_slow_gets_no_more_work(connect: Connect) -> None:
    """Who is too slow is no longer subscribed, from the moment on that it is given up."""
    topic, stuck, sender, alice = fresh_topic(), await connect(), await connect(), await connect()
    await stuck.subscribe(topic)
    stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await flood(sender, topic)
    await sender.send(topic, "job", delivery="one")
    assert "job" in msgs(await alice.subscribe(topic))


# What follows cannot be seen from outside without a clock.


class Stuck:
    """A client to which nothing can be sent until it is told to read."""

    def __init__(self) -> None:
        self.unsent = bytearray()
        self.taken = bytearray()
        self.most = 0
        self.reads = asyncio.Event()
        self.closed = False
        self.aborted = asyncio.Event()
        self.writer: Any = self
        self.transport = self

    def write(self, data: bytes) -> None:
        self.unsent += data
        self.most = max(self.most, len(self.unsent))

    def flush(self) -> None:
        pass

    async def drain(self) -> None:
        await self.reads.wait()
        self.taken += self.unsent
        self.unsent.clear()

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted.set()


def lines_of(text: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(text)
    return reader


def send_too_much(server: slow_consumers.Server, sender: Stuck) -> None:
    for text in (b"x" * 100, b"one too many"):
        server.handle(b'{"command": "send", "topic": "foo", "msg": "%s", "delivery": "all"}' % text, sender)
    sender.unsent.clear()


async def some_turns_of_the_loop() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_publisher_that_does_not_read_its_answers_is_not_read_from() -> None:
    server, publisher = slow_consumers.Server(outbox_limit=100, patience=0.001), Stuck()
    lines = server.lines(lines_of(b"first\nsecond\n"), publisher)
    assert await anext(lines) == b"first"
    publisher.write(b"x" * 101)
    second = asyncio.ensure_future(anext(lines))
    await some_turns_of_the_loop()
    assert not second.done()
    publisher.reads.set()
    assert await second == b"second"
    assert not publisher.closed


async def test_a_sender_waits_for_a_subscriber_and_goes_on_when_it_has_caught_up() -> None:
    server, subscriber, sender = slow_consumers.Server(outbox_limit=100, patience=60), Stuck(), Stuck()
    server.handle(b'{"command": "subscribe", "topic": "foo"}', subscriber)
    lines = server.lines(lines_of(b"first\nsecond\n"), sender)
    await anext(lines)
    send_too_much(server, sender)
    second = asyncio.ensure_future(anext(lines))
    await some_turns_of_the_loop()
    assert not second.done()
    assert b"one too many" not in subscriber.unsent
    subscriber.reads.set()
    assert await second == b"second"
    assert b"one too many" in subscriber.unsent + subscriber.taken
    assert not subscriber.closed


async def test_a_replay_is_sent_as_there_is_room() -> None:
    server, subscriber, sender = slow_consumers.Server(outbox_limit=1000, patience=60), Stuck(), Stuck()
    for number in range(100):
        send = {"command": "send", "topic": "foo", "msg": f"{number}", "delivery": "all"}
        server.handle(json.dumps(send).encode(), sender)
    sender.unsent.clear()
    lines = server.lines(lines_of(b'{"command": "subscribe", "topic": "foo"}\nthe next\n'), subscriber)
    server.handle(await anext(lines), subscriber)
    following = asyncio.ensure_future(anext(lines))
    await some_turns_of_the_loop()
    assert not following.done()
    subscriber.reads.set()
    assert await following == b"the next"
    heard = [json.loads(line) for line in (subscriber.taken + subscriber.unsent).splitlines()]
    assert msgs(heard[1:]) == [f"{number}" for number in range(100)]
    assert subscriber.most < 1200


async def test_who_is_given_up_is_told_why_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    server, subscriber, sender = slow_consumers.Server(outbox_limit=100, patience=0.001), Stuck(), Stuck()
    server.handle(b'{"command": "subscribe", "topic": "foo"}', subscriber)
    lines = server.lines(lines_of(b"first\nsecond\n"), sender)
    await anext(lines)
    with caplog.at_level(logging.INFO, "stages"):
        send_too_much(server, sender)
        assert await anext(lines) == b"second"
    assert subscriber.unsent.endswith(b'\n{"success": false, "reason": "Too slow"}\r\n')
    assert subscriber.closed
    assert server.topics == {}
    assert "Too slow" in caplog.text
    await asyncio.wait_for(subscriber.aborted.wait(), 10)


async def test_who_is_late_is_given_up_even_if_nobody_waits_for_it() -> None:
    server, stuck = slow_consumers.Server(outbox_limit=100, patience=0.001), Stuck()
    for _ in range(2):
        server.deliver({"topic": "foo", "msg": "x" * 200}, [stuck])
    await server.late[stuck].task
    assert stuck.closed
    assert server.late == {}


async def test_who_is_late_and_leaves_holds_nobody_up() -> None:
    server, stuck, sender = slow_consumers.Server(outbox_limit=100, patience=60), Stuck(), Stuck()
    end = lines_of(b"")
    end.feed_eof()
    server.handle(b'{"command": "subscribe", "topic": "foo"}', stuck)
    stuck.reads.set()
    leaving = asyncio.create_task(server.handle_client(end, stuck))
    send_too_much(server, sender)
    waiting = asyncio.create_task(server.wait_for(stuck))
    await asyncio.wait_for(asyncio.gather(leaving, waiting), 10)
    assert server.late == {}


async def test_who_leaves_without_reading_the_rest_is_closed() -> None:
    server, stuck = slow_consumers.Server(patience=0.001), Stuck()
    stuck.write(b"the rest")
    await server.see_off(stuck)
    assert stuck.aborted.is_set()


@pytest.mark.parametrize(("setting", "problem"), [("outbox_limit", "at least 1"), ("patience", "more than 0")])
def test_a_setting_that_makes_no_sense_is_rejected(setting: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be a number of .*, {problem}: got 0"):
        slow_consumers.Server(**{setting: 0})
