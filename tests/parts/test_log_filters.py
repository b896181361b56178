"""A log is lines of ours: nobody else forges one, colours it, or leaves a token in it."""

import asyncio
import json
import logging
from contextlib import closing
from typing import Any

import pytest

from stages import basic, serve
from stages.beyond import acks, durable, fast, replies, secure
from stages.log_filters import Once, Readable, readable

HOST = "127.0.0.1"
FORGED = "x\nReceived: forged\r\n\x1b[31mred\u2028\u202e\x9b"


async def logged(server: Any, line: bytes, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of the log, once a client has said a line and left."""
    with caplog.at_level(logging.INFO, "stages"):
        async with serve.listening(server, HOST, 0) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            with closing(writer):
                writer.write(line + b"\nquit\n")
                await reader.read()
    return "\n".join(caplog.messages).split("\n")


class Faulty(basic.Server):
    def send(self, command: Any, client: Any) -> None:
        raise ValueError(command["msg"])


@pytest.mark.parametrize(
    ("server", "command"),
    [
        (basic.Server, {"command": "send", "topic": "foo", "msg": FORGED}),
        (basic.Server, {"command": FORGED}),
        (basic.Server, {"command": "send", FORGED: FORGED}),
        (Faulty, {"command": "send", "topic": "foo", "msg": FORGED}),
        (replies.Server, {"command": FORGED, "id": FORGED}),
        (replies.Server, {"command": "unsubscribe", "topic": "foo", FORGED: 1, "id": FORGED}),
        (fast.Server, {"command": "unsubscribe", "topic": "foo", FORGED: 1, "id": 1}),
        (acks.Server, {"command": "ack", "topic": FORGED, "index": 1, "id": 1}),
        (secure.Door, {"command": "unsubscribe", "topic": "a", FORGED: 1}),
    ],
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
async def test_what_a_client_wrote_forges_no_line_and_no_colour(
    server: Any, command: Any, ensure_ascii: bool, caplog: pytest.LogCaptureFixture
) -> None:
    users = {"users": ""} if issubclass(server, secure.Door) else {}
    line = json.dumps(command, ensure_ascii=ensure_ascii).encode()
    told = await logged(server(**users), line, caplog)
    assert any("forged" in each for each in told)
    assert [each for each in told if each.startswith("Received: forged")] == []
    assert [each for each in told if not each.isprintable()] == []


SPELLED = [
    b'{"command": "auth", "token": "SECRET"}',
    b"{'token': 'SECRET', 'command': 'auth'}",
    b'{"command":"auth","token":"SECRET","id":7}',
    b'{"command": "auth", "token" : "SECRET',
    b'{"command": "auth", "\\u0074oken": "SECRET"}',
    b'{"command": "auth", "tok\\u0065n": "SEC\\u0052ET", "id": "it\'s"}',
    b'{"command": "auth", "token": ["SECRET"]}',
    b"{'command': 'auth', 'token': b'SECRET'}",
    b"""{"command": "auth", 'token': 'SECRET'}""",
]


@pytest.mark.parametrize("line", SPELLED, ids=repr)
@pytest.mark.parametrize("server", [basic.Server, replies.Server, durable.Server, fast.Server])
async def test_a_token_is_masked_on_every_stage(
    server: Any, line: bytes, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    data = {"data": str(tmp_path / "messages.db")} if server is durable.Server else {}
    told = "\n".join(await logged(server(**data), line, caplog))
    assert "SECRET" not in told
    assert "…" in told


def test_masking_leaves_the_rest_of_a_line_as_it_is() -> None:
    line = 'Received: {"command": "auth", "token": "SECRET", "id": 7}'
    assert readable(line) == line.replace("SECRET", "…")
    for line in ('{"msg": "token"}', '{"msg": "a token: b"}', '{"access_token": "x"}', "naïve \\n"):
        assert readable(line) == line


def test_a_record_with_arguments_is_one_line() -> None:
    (ours,) = (each for each in serve.logger.filters)
    record = logging.LogRecord("stages", logging.INFO, "", 1, "a %s", ("b\nc",), None)
    assert isinstance(ours, Readable)
    assert ours.filter(record)
    assert record.getMessage() == "a b\\nc"


def record(text: str) -> logging.LogRecord:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        return logging.LogRecord("asyncio", logging.ERROR, "", 1, text, (), (None, None, None))


def test_each_trouble_of_asyncio_is_logged_once_and_in_one_line() -> None:
    once = Once()
    first = record("cannot accept\nsocket 7")
    assert once.filter(first)
    assert (first.getMessage(), first.exc_info) == ("cannot accept", None)
    assert not once.filter(record("cannot accept\nsocket 8"))
    assert once.filter(record("another"))
