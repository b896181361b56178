"""What is said at a door, and the users behind it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import trustme

from stages import serve
from stages.beyond.door import users

# The same in each process, for names of tests.
ALICE, BOB, EVERYBODY = (users.hash_of(f"a token of {name}")[:43] + "Aa" for name in "abe")


USERS = "\n".join(
    [
        users.entry("alice", ALICE, ["news/*", "jobs"], ["news/*"]),
        users.entry("bob", BOB, [], ["news/sport", "*"]),
        users.entry("everybody", EVERYBODY, ["*"], ["*"]),
    ]
)


HOST = "127.0.0.1"


Line = dict[str, Any]


@asynccontextmanager
async def served(server: Any) -> AsyncIterator[int]:
    async with serve.listening(server, HOST, 0) as port:
        yield port


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def auth(token: Any, **fields: Any) -> bytes:
    return line(command="auth", token=token, **fields)


def send(topic: str, **fields: Any) -> bytes:
    return line(command="send", topic=topic, msg="hi", delivery="all", **fields)


def subscribe(topic: str, **fields: Any) -> bytes:
    return line(command="subscribe", topic=topic, **fields)


async def talk(port: int, *lines: bytes, quits: bool = True, **how: Any) -> list[Line]:
    """All that comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=2**23, **how)
    with closing(writer):
        writer.write(b"".join(lines) + b"quit\n" * quits)
        data = b""
        with suppress(ConnectionResetError):  # it closes while something is still unread
            while more := await asyncio.wait_for(reader.read(2**16), 10):
                data += more
        writer.transport.abort()
    return [json.loads(each) for each in data.splitlines()]


def verdicts(answers: list[Line]) -> list[Any]:
    return [each.get("reason", each.get("success")) for each in answers if "success" in each]


CA = trustme.CA()


def trusting(ca: trustme.CA = CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


OVER_TLS: Any = {"ssl": trusting(), "server_hostname": "localhost"}
