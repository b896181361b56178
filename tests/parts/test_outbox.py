"""What a client is still to be sent, without a socket."""

import asyncio
import time

import pytest

from stages.beyond.broker import commands
from stages.beyond.broker.commands import Message
from stages.beyond.server.outbox import Outbox


class Sink:
    """A connection to a client that takes nothing until `read` is called."""

    def __init__(self) -> None:
        self.unsent = bytearray()
        self.taken = bytearray()
        self.high_water = 0
        self.room = asyncio.Event()
        self.closing = False
        self.aborted = asyncio.Event()

    @property
    def size(self) -> int:
        return len(self.unsent)

    def write(self, data: bytes) -> None:
        self.unsent += data

    def limit(self, high_water: int) -> None:
        self.high_water = high_water

    async def drained(self) -> None:
        if self.size > self.high_water:
            self.room.clear()
            await self.room.wait()

    def end(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True
        self.aborted.set()
        self.room.set()

    def read(self) -> None:
        self.taken += self.unsent
        self.unsent.clear()
        self.room.set()


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def outbox(sink: Sink) -> Outbox:
    return Outbox(sink, high_water=100)


LINE = b"x" * 60


async def some_turns_of_the_loop() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def read_everything(sink: Sink, outbox: Outbox) -> None:
    while outbox.pending:
        sink.read()
        await some_turns_of_the_loop()
    sink.read()


async def test_lines_are_passed_on_up_to_the_high_water_mark_and_one_more(
    sink: Sink, outbox: Outbox
) -> None:
    outbox.put([LINE] * 5)
    assert bytes(sink.unsent) == LINE * 2
    await read_everything(sink, outbox)
    assert sink.taken == LINE * 5


async def test_a_newer_line_never_overtakes_one_that_is_pending(sink: Sink, outbox: Outbox) -> None:
    outbox.put([LINE] * 3)
    sink.read()
    outbox.put([b"newer"])
    await read_everything(sink, outbox)
    assert sink.taken == LINE * 3 + b"newer"


async def test_a_message_is_encoded_when_it_is_its_turn(
    sink: Sink, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = commands.encode

    def noting(what: Message) -> bytes:
        encoded.append(what.index)
        return encode(what)

    monkeypatch.setattr(commands, "encode", noting)
    outbox.put(Message(topic="foo", msg="x", delivery="all", index=n) for n in range(10))
    assert encoded == [0, 1]
    await read_everything(sink, outbox)
    assert encoded == list(range(10))


async def test_a_sender_waits_until_as_much_has_left_as_it_has_put(
    sink: Sink, outbox: Outbox
) -> None:
    outbox.put([LINE] * 8)
    first = asyncio.create_task(outbox.wait_for_room(2, timeout=60))
    second = asyncio.create_task(outbox.wait_for_room(2, timeout=60))
    finished = []
    await some_turns_of_the_loop()
    for _ in range(3):
        sink.read()
        await some_turns_of_the_loop()
        finished.append((first.done(), second.done()))
    assert finished == [(True, False), (True, True), (True, True)]
    await asyncio.gather(first, second)


async def test_a_sender_waits_no_longer_than_its_timeout(outbox: Outbox) -> None:
    outbox.put([LINE] * 8)
    with pytest.raises(TimeoutError):
        await outbox.wait_for_room(1, timeout=0.001)


async def test_a_reader_that_has_read_during_a_pause_of_ours_is_not_late(
    sink: Sink, outbox: Outbox
) -> None:
    outbox.put([LINE] * 8)
    waiting = asyncio.create_task(outbox.wait_for_room(2, timeout=0.0001))
    await asyncio.sleep(0)
    pause_in_which_it_reads(sink)
    await waiting
    assert outbox.passed_on > 2


def pause_in_which_it_reads(sink: Sink) -> None:
    """Stop the loop until a timer that runs is due; what the reader has done is due after it, as
    what sockets say is."""
    loop = asyncio.get_running_loop()
    loop.call_later(0.0002, loop.call_soon, sink.read)
    time.sleep(0.01)


async def test_a_client_that_leaves_and_reads_during_a_pause_of_ours_is_not_late(
    sink: Sink, outbox: Outbox
) -> None:
    outbox.put([LINE])
    leaving = asyncio.create_task(outbox.finish(timeout=0.0001))
    await asyncio.sleep(0)
    pause_in_which_it_reads(sink)
    await leaving
    assert not sink.aborted.is_set()


async def test_a_client_that_leaves_has_time_for_its_last_bytes(sink: Sink, outbox: Outbox) -> None:
    outbox.put([LINE])  # below the high-water mark
    leaving = asyncio.create_task(outbox.finish(timeout=60))
    await some_turns_of_the_loop()
    assert not leaving.done()
    sink.read()
    await leaving
    assert not sink.aborted.is_set()


async def test_nobody_waits_for_a_client_that_is_gone(sink: Sink, outbox: Outbox) -> None:
    outbox.put([LINE] * 8)
    waiting = asyncio.create_task(outbox.wait_for_room(8, timeout=60))
    await some_turns_of_the_loop()
    sink.abort()
    await waiting
    assert not outbox.pending


async def test_a_client_that_is_dismissed_is_told_why_and_gets_nothing_else(
    sink: Sink, outbox: Outbox
) -> None:
    outbox.put([LINE] * 8)
    waiting = asyncio.create_task(outbox.wait_for_room(8, timeout=60))
    await some_turns_of_the_loop()
    for _ in range(2):
        outbox.dismiss({"success": False, "reason": "Too slow"}, timeout=0)
    outbox.put([LINE])
    await waiting
    assert sink.unsent == LINE * 2 + b'{"success":false,"reason":"Too slow"}\r\n'
    assert sink.closing
    await sink.aborted.wait()


async def test_who_waits_for_a_client_goes_on_as_soon_as_it_is_dismissed(
    sink: Sink, outbox: Outbox
) -> None:
    outbox.put([LINE] * 8)
    waiting = asyncio.create_task(outbox.wait_for_room(8, timeout=60))
    await some_turns_of_the_loop()
    outbox.dismiss({"success": False, "reason": "Too slow"}, timeout=60)
    await some_turns_of_the_loop()
    assert waiting.done()
    await waiting
    assert sink.closing
    sink.read()
    outbox.put([LINE])
    assert not sink.unsent
    outbox.dismiss({"success": False, "reason": "Too slow"}, timeout=0)
    assert not sink.unsent


async def test_a_client_that_leaves_may_take_the_rest(sink: Sink, outbox: Outbox) -> None:
    outbox.put([LINE] * 8)
    leaving = asyncio.create_task(outbox.finish(timeout=60))
    await some_turns_of_the_loop()
    await read_everything(sink, outbox)
    await leaving
    assert sink.taken == LINE * 8
    assert not sink.aborted.is_set()


async def test_a_client_that_leaves_without_reading_the_rest_is_closed(
    sink: Sink, outbox: Outbox
) -> None:
    outbox.put([LINE])
    await outbox.finish(timeout=0.001)
    assert sink.aborted.is_set()
    outbox.put([LINE] * 8)
    await outbox.finish(timeout=0.001)
    await some_turns_of_the_loop()
    assert not outbox.pending
