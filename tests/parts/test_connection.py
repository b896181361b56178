"""What stands between a socket and a queue, with a socket that only pretends."""

import asyncio
import logging
from typing import Any

import pytest

from stages.beyond.server.connection import Connection
from stages.connection import read_in_turn


class Writer:
    """A stream writer that notes what is written, and is its own transport."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = False
        self.buffered = 0
        self.transport = self

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> None:
        """Nothing is known any more of a connection that is lost."""

    def get_write_buffer_size(self) -> int:
        if self.closing:
            raise RuntimeError("unable to perform operation; the handler is closed")  # as uvloop's
        return self.buffered


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def connection(writer: Any) -> Connection:
    return Connection(writer)


async def test_what_is_written_in_one_turn_goes_out_together(
    writer: Writer, connection: Connection
) -> None:
    for line in (b"a\n", b"b\n"):
        connection.write(line)
    assert writer.written == []
    await asyncio.sleep(0)
    assert writer.written == [b"a\nb\n"]
    connection.write(b"c\n")
    await asyncio.sleep(0)
    assert writer.written == [b"a\nb\n", b"c\n"]


async def test_its_size_is_all_that_the_system_has_not_taken(
    writer: Writer, connection: Connection
) -> None:
    assert connection.size == 0
    connection.write(b"four")
    connection.write(b"six...")
    writer.buffered = 100
    assert connection.size == 110
    connection.flush()
    assert connection.size == 100


async def test_nothing_is_written_to_a_client_that_is_gone(
    writer: Writer, connection: Connection
) -> None:
    connection.write(b"lost\n")
    writer.closing = True
    assert connection.closing
    await asyncio.sleep(0)
    assert writer.written == []
    assert connection.size == 0
    assert (connection.peer, connection.certified_name) == ("nowhere", None)


async def read_all(data: bytes, most: int) -> list[list[bytes]]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return [batch async for batch in read_in_turn(reader, 100, 10_000, most)]


async def test_a_batch_has_so_many_lines_at_most_and_no_blank_ones() -> None:
    assert await read_all(b"1\n \n2\n3\n\r\n4\n5", 2) == [[b"1", b"2"], [b"3", b"4"], [b"5"]]


async def test_a_blank_line_that_is_too_long_is_no_blank_line() -> None:
    assert await read_all(b" " * 101 + b"\n" + b" " * 100 + b"\n", 9) == [[b" " * 101]]


async def test_between_two_batches_others_have_their_turn() -> None:
    order: list[str] = []

    async def other() -> None:
        while len(order) < 6:
            order.append("other")
            await asyncio.sleep(0)

    turns = asyncio.create_task(other())
    reader = asyncio.StreamReader()
    reader.feed_data(b"1\n2\n3\n")
    reader.feed_eof()
    async for _ in read_in_turn(reader, 100, 10_000, 1):
        order.append("batch")
    await turns
    assert order[:6] == ["other", "batch"] * 3


async def test_each_line_is_logged_readably(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stages"):
        await read_all(b"it's\n\n \x1b[31m\xff\r\n", 9)
    assert caplog.messages == ["Received: it's\nReceived: \\x1b[31m\\\\xff"]
    caplog.clear()
    with caplog.at_level(logging.ERROR, "stages"):
        await read_all(b"quiet\n", 9)
    assert caplog.messages == []
    with caplog.at_level(logging.INFO, "stages"):
        await read_all(b"\n\n", 9)
    assert caplog.messages == []


async def test_a_text_is_refused_where_it_is_written(connection: Connection) -> None:
    with pytest.raises(TypeError, match="write expects bytes, not a str"):
        connection.write("text")  # type: ignore[arg-type]
