"""A client that speaks another protocol is heard by no server, and is told so at once."""

import asyncio
import logging
from contextlib import closing
from typing import Any

import pytest
from peer import Peer, msgs
from recorder import Recorder

from stages import basic, serve, wire
from stages.beyond import fast
from stages.beyond.server.connection import Connection
from stages.first_line import COMMANDS, GuardedReader, answer, spoken
from stages.patience import patient

HOST, LIMIT = "127.0.0.1", 1000
SEND = b"{'command': 'send', 'topic': 'foo', 'msg': 'posted'}\n"
POST = b"POST /a?b=c HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\r\n" + SEND

FOREIGN = {
    b"GET / HTTP/1.1\r\n": "HTTP",
    b"POST /foo HTTP/1.0\n": "HTTP",
    b"OPTIONS * HTTP/1.1\r\n": "HTTP",
    b"CONNECT localhost:7777 HTTP/1.1\r\n": "HTTP",
    b"PRI * HTTP/2.0\r\n": "HTTP",
    b"SSH-2.0-OpenSSH_9.2p1\r\n": "SSH",
    b"AMQP\x00\x00\x09\x01": "AMQP",
    b"\x16\x03\x01\x02\x00\x01": "TLS",
    b"\x10\x27\x00\x04MQTT": "MQTT",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f": "a binary protocol",
    b"\x1b[A": "a binary protocol",
}

OURS = [
    SEND,
    b'{"command": "subscribe", "topic": "foo"}\n',
    *(b"quit\n", b"QUIT\n", b"\n", b"\r\n", b"\tfoo\n", b" GET / HTTP/1.1\n", b"\xff\xfe\n"),
    *(b"SSH\n", b"AMQP\n", b"GET /\n", b"GET / HTP/1.1\n", b"get / HTTP/1.1\n", b"a b HTTP/1.1\n"),
    *(b"\x7f\n", b"GET / and / HTTP/1.1\n", b"{GET / HTTP/1.1\n", b"PING\r\n", b"GET  HTTP/1.1\n"),
]


@pytest.mark.parametrize("data", FOREIGN, ids=repr)
def test_another_protocol_is_known_by_its_first_bytes_and_by_no_fewer(data: bytes) -> None:
    verdicts = [spoken(data[:length], LIMIT) for length in range(len(data) + 1)]
    begin = verdicts.index(FOREIGN[data])
    assert verdicts[:begin] == [None] * begin
    assert set(verdicts[begin:]) == {FOREIGN[data]}


@pytest.mark.parametrize("data", OURS, ids=repr)
def test_all_other_first_lines_are_commands(data: bytes) -> None:
    verdicts = [spoken(data[:length], LIMIT) for length in range(len(data) + 1)]
    begin = verdicts.index(COMMANDS)
    assert verdicts[:begin] == [None] * begin
    assert set(verdicts[begin:]) == {COMMANDS}
    assert spoken(data + POST, LIMIT) == COMMANDS


def test_no_more_is_held_back_than_it_takes_to_decide() -> None:
    assert spoken(b"{", LIMIT) == spoken(b"q", LIMIT) == spoken(b"\xff", LIMIT) == COMMANDS
    assert spoken(b"SEN", LIMIT) is None
    assert spoken(b"SENd", LIMIT) == spoken(b"SEND foo b", LIMIT) == COMMANDS
    assert spoken(b"X" * 21, LIMIT) == COMMANDS
    assert spoken(b"GET /" + b"x" * (LIMIT - 5), LIMIT) is None
    assert spoken(b"GET /" + b"x" * (LIMIT - 4), LIMIT) == "HTTP"


def fed(*pieces: bytes) -> tuple[GuardedReader, list[str]]:
    """A reader that was given these pieces, and what it has refused."""
    refused: list[str] = []
    reader = GuardedReader(LIMIT)
    reader.refuse = refused.append
    for piece in pieces:
        reader.feed_data(piece)
    return reader, refused


async def test_however_a_first_line_is_cut_nothing_of_another_protocol_is_passed_on() -> None:
    for data, protocol in {**FOREIGN, POST: "HTTP"}.items():
        cuts = [(data[:at], data[at:]) for at in range(len(data))]
        for pieces in [*cuts, [bytes([each]) for each in data]]:
            reader, refused = fed(*pieces)
            assert (await reader.read(), refused) == (b"", [protocol])


async def test_however_it_is_cut_everything_else_is_passed_on_as_it_came() -> None:
    for first in [*OURS, *(line.rstrip(b"\n") for line in OURS)]:
        data = first + b"\nmore"
        for at in range(len(data)):
            reader, refused = fed(data[:at], data[at:])
            reader.feed_eof()
            assert (await reader.read(), refused) == (data, [])


async def test_what_ends_before_it_is_clear_is_passed_on() -> None:
    for data in (b"GET", b"GET / HT", b"S", b""):
        reader, refused = fed(data)
        reader.feed_eof()
        assert (await reader.read(), refused) == (data, [])


class Learners:
    """Passes on what it reads, and never looks for the end of file."""

    def __init__(self) -> None:
        self.read: list[bytes] = []

    async def handle_client(self, reader: asyncio.StreamReader, client: Connection) -> None:
        self.read.append(await reader.readline())
        await asyncio.Event().wait()


async def said_to(server: Any, data: bytes) -> bytes:
    """What a server answers before it closes the connection; we leave our half open."""
    async with serve.listening(server, HOST, 0) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        with closing(writer):
            writer.write(data)
            async with asyncio.timeout(patient(30)):
                return (await reader.read()).replace(str(port).encode(), b"PORT")


@pytest.mark.parametrize("server", [basic.Server, fast.Server, Learners])
@pytest.mark.parametrize("data", FOREIGN, ids=repr)
async def test_it_is_answered_logged_in_a_line_and_ended_at_once(
    server: Any, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "stages"):
        told = await said_to(server(), data)
    assert told.replace(b"PORT", b"7") == answer(FOREIGN[data], 7)
    rejected = f"Rejected: {FOREIGN[data]}, not one command a line"
    assert [each for each in caplog.messages if "client" not in each.lower()] == [rejected]


async def test_a_browser_is_shown_what_listens_here_and_how_to_talk_to_it() -> None:
    told = (await said_to(basic.Server(), POST)).decode()
    head, _, page = told.partition("\r\n\r\n")
    assert head.splitlines()[0] == "HTTP/1.1 400 Bad Request"
    assert page.startswith("A message queue listens here, not a web server: it takes one command")
    assert "`python -m stages.client PORT` or `nc localhost PORT`" in page


def test_others_are_told_in_a_line_that_a_stage_of_any_wire_could_have_said() -> None:
    told = wire.decode(answer("TLS", 7))
    assert told == {"error": "a message queue listens here: expected one command a line, got TLS"}


async def test_a_class_of_a_learners_hears_only_the_end(caplog: pytest.LogCaptureFixture) -> None:
    server = Learners()
    assert (await said_to(server, POST)).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert server.read == [b""]


async def test_the_others_are_served_while_one_holds_back_its_first_line() -> None:
    async with serve.listening(basic.Server(), HOST, 0) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        alice = await Peer.connect(HOST, port)
        with closing(writer), closing(alice):
            writer.write(POST[:10])
            await alice.subscribe("foo")
            writer.write(POST[10:])
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
            await alice.send("foo", "sent")
            assert msgs(await alice.heard()) == ["sent"]


def test_the_posted_line_would_be_carried_out_by_a_queue_that_heard_it() -> None:
    server, client = basic.Server(), Recorder()
    server.handle(b"{'command': 'subscribe', 'topic': 'foo'}", client)
    server.handle(SEND, client)
    assert client.written == [SEND]
