"""What clients of our stages and of other servers say and hear, as bytes: made
before the clock starts, so that a benchmark measures the server, and not the client."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass

SIZE = 100
"""Bytes of a message's text."""

TOPIC, STREAM = "foo", "jobs"


def text_of(number: int) -> str:
    return f"{number:010d}".ljust(SIZE, "x")


@dataclass(frozen=True)
class Wire:
    """A protocol: the bytes of each command, and how to count what comes back."""

    publish: Callable[[str, str], bytes]
    subscribe: Callable[[str], bytes]
    subscribed: int
    """Line breaks in the answer to `subscribe`."""
    answered: int
    """Line breaks in the answer to `publish`; 0: it has none."""
    delivered: int = 0
    """Bytes of a delivered message; 0: each is a line."""
    hello: bytes = b""
    greeted: int = 0
    """Line breaks in the answer to `hello`."""


def literal(**command: str) -> bytes:
    return f"{command}\n".encode()


def as_json(**command: object) -> bytes:
    return json.dumps(command, separators=(",", ":")).encode() + b"\n"


def resp(*words: str | int) -> bytes:
    """Redis' protocol."""
    parts = "".join(f"${len(str(word))}\r\n{word}\r\n" for word in words)
    return f"*{len(words)}\r\n{parts}".encode()


def nats(topic: str, text: str, reply: str = "") -> bytes:
    return f"PUB {topic} {reply}{' ' if reply else ''}{len(text)}\r\n{text}\r\n".encode()


JSON = Wire(
    publish=lambda topic, text: as_json(command="send", topic=topic, msg=text, delivery="all"),
    subscribe=lambda topic: as_json(command="subscribe", topic=topic),
    subscribed=1,
    answered=1,
)
LITERAL = Wire(
    publish=lambda topic, text: literal(command="send", topic=topic, msg=text, delivery="all"),
    subscribe=lambda topic: literal(command="subscribe", topic=topic),
    subscribed=0,
    answered=0,
)
REDIS = Wire(
    publish=lambda topic, text: resp("PUBLISH", topic, text),
    subscribe=lambda topic: resp("SUBSCRIBE", topic),
    subscribed=6,
    answered=1,
    delivered=len(resp("message", TOPIC, text_of(0))),
)
NATS = Wire(
    publish=nats,
    subscribe=lambda topic: f"SUB {topic} 1\r\nPING\r\n".encode(),
    subscribed=1,
    answered=0,
    delivered=len(f"MSG {TOPIC} 1 {SIZE}\r\n{text_of(0)}\r\n"),
    hello=b'CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n',
    greeted=2,
)


# Where each message must be stored, or its work be done, before it counts

REDIS_STREAM = Wire(
    publish=lambda topic, text: resp("XADD", topic, "*", "d", text),
    subscribe=lambda topic: resp("XGROUP", "CREATE", topic, "workers", "$", "MKSTREAM"),
    subscribed=1,
    answered=2,
)
JETSTREAM = Wire(
    publish=lambda topic, text: nats(topic, text, "answers"),
    subscribe=NATS.subscribe,
    subscribed=1,
    answered=2,
    hello=NATS.hello
    + b"SUB answers 1\r\n"
    + nats(
        "$JS.API.STREAM.CREATE.S",
        json.dumps({"name": "S", "subjects": [TOPIC], "storage": "file", "num_replicas": 1}),
        "answers",
    ),
    greeted=4,
)
JSON_JOBS = Wire(
    publish=lambda topic, text: as_json(command="send", topic=topic, msg=text, delivery="one"),
    subscribe=lambda topic: as_json(command="subscribe", topic=topic, ack=True),
    subscribed=1,
    answered=1,
)


def connect(port: int, wire: Wire) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ask(connection, wire.hello, wire.greeted)
    return connection


def ask(connection: socket.socket, question: bytes, lines: int) -> None:
    """Say something, and read so many lines."""
    connection.sendall(question)
    while lines > 0:
        data = connection.recv(2**16)
        if not data:
            raise EOFError("the server has closed the connection")
        lines -= data.count(b"\n")
