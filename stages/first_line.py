r"""Find out by its first line what a connection speaks: one command a line, or another protocol.

    b"{'command': 'send', …"   ->  commands
    b"POST / HTTP/1.1\r\n…"    ->  HTTP
    b"\x16\x03\x01\x02…"       ->  TLS

A page that somebody visits can make the browser send whatever it likes to any port of this machine.
But a browser begins with a line of its own; so a connection that begins like that is refused before
a queue hears of it.

Source: Redis and memcached, which close such connections for the same reason.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import SupportsIndex

COMMANDS = "commands"

BINARY = {b"\x10": "MQTT", b"\x16": "TLS"}
GREETINGS = {b"SSH-": "SSH", b"AMQP\0": "AMQP"}
LONGEST_METHOD = 20

PAGE = """\
HTTP/1.1 400 Bad Request\r
Content-Type: text/plain; charset=utf-8\r
Connection: close\r
\r
A message queue listens here, not a web server: it takes one command a line, \
so talk to it in a terminal, with `python -m stages.client {port}` or `nc localhost {port}`.
"""


def spoken(data: bytes, limit: int) -> str | None:
    """What a connection that begins with `data` speaks: `COMMANDS`, or the name of another
    protocol; None if more has to come before that can be said. It can be said of more than `limit`
    bytes."""
    first = data[:1]
    if first < b" " and first not in b"\t\r\n":
        return BINARY.get(first, "a binary protocol")
    for greeting, name in GREETINGS.items():
        if data.startswith(greeting):
            return name
    line, line_break, _ = data.partition(b"\n")
    method, target, version = (*line.split(b" ", 2), b"", b"")[:3]
    if not data or could_be_method(method):
        if target and version.startswith(b"HTTP/"):
            return "HTTP"
        if not line_break and b"HTTP/".startswith(version):
            return "HTTP" if len(data) > limit else None
    return COMMANDS


def could_be_method(word: bytes) -> bool:
    return word.isalpha() and word.isupper() and len(word) <= LONGEST_METHOD


def answer(protocol: str, port: int) -> bytes:
    """What somebody who speaks another protocol to our `port` is told: a page, or a line."""
    if protocol == "HTTP":
        return PAGE.format(port=port).encode()
    problem = f"a message queue listens here: expected one command a line, got {protocol}"
    return f"{json.dumps({'error': problem})}\n".encode()  # a Python literal, too


class GuardedReader(asyncio.StreamReader):
    """A reader that passes nothing on until it is clear what a connection speaks, and then commands
    alone. Of anything else it calls `refuse` with the protocol's name, and is at its end."""

    refuse: Callable[[str], None]

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit
        self.held = b""
        self.spoken: str | None = None

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:  # as asyncio declares it
        if self.spoken is None:
            data = self.held + bytes(data)
            self.spoken = spoken(data, self.limit)
            self.held = data if self.spoken is None else b""
            if self.spoken not in (None, COMMANDS):
                self.refuse(self.spoken)
                super().feed_eof()
        if self.spoken == COMMANDS:
            super().feed_data(data)

    def feed_eof(self) -> None:
        if self.spoken is None:  # it ends too early to be another protocol's
            self.spoken = COMMANDS
            super().feed_data(self.held)
        super().feed_eof()
