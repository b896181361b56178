"""What a client says and hears, on either wire, without I/O: commands -> bytes, and lines by their
kind."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal

from stages import wire

MAX_LINE = 64 * wire.LIMIT
"""The longest line expected from a server, in bytes: escapes can make a line longer than it was
sent."""

PROBE = b'{"command": "which wire do you speak?"}\n'
"""Nonsense on either wire, and so answered on either: in a dict literal up to stage `disconnects`,
then in JSON."""

NOT_KNOWN = "Not known"
CLOSE_REASONS = ("Too slow", "Could not store", NOT_KNOWN)
"""Why a server may end a connection."""

Line = dict[str, Any]
"""What a server has said."""

Kind = Literal["message", "answer", "error", "goodbye"]


class Verbs(ABC):
    """The commands of a client, as methods. They return the server's answer; up to stage
    `disconnects`, where there is none, an empty dict."""

    speaks_json = False

    @abstractmethod
    async def ask(self, command: wire.Command) -> Line:
        """Send a command; returns its answer, if this server answers."""

    async def subscribe(self, topic: str, **fields: Any) -> Line:
        """Ask for the messages of a topic; since `last_seen`: only those after the index
        `last_seen`.

        Since `replies`: with `cache=False` nothing that was sent before; the answer may say how
        many are `missed`. Since `acks`: with `ack=True` to acknowledge `one` messages, at most
        `prefetch` of them at a time.
        """
        return await self.ask({"command": "subscribe", "topic": topic, **fields})

    async def unsubscribe(self, topic: str) -> Line:
        """Since `replies`: receive no more of a topic."""
        return await self.ask({"command": "unsubscribe", "topic": topic})

    async def send(self, topic: str, msg: object, **fields: Any) -> Line:
        """Send a message, any Python literal, since `replies` a text; since `delivery`: to "all" or
        "one"."""
        if self.speaks_json:
            fields = {"delivery": "all"} | fields
        return await self.ask({"command": "send", "topic": topic, "msg": msg, **fields})

    async def ack(self, message: Line) -> Line:
        """Since `acks`: say that the work of a message is done. Raises `wire.Error` if it has no
        index."""
        if "topic" not in message or "index" not in message:
            raise wire.Error(
                f"only a message with a topic and an index can be acknowledged: got {message!r}"
            )
        return await self.ask(
            {"command": "ack", "topic": message["topic"], "index": message["index"]}
        )

    def encode(self, command: wire.Command) -> bytes:
        return encode(command, speaks_json=self.speaks_json)


def encode(command: wire.Command, *, speaks_json: bool) -> bytes:
    return f"{json.dumps(command)}\n".encode() if speaks_json else wire.encode(command)


def decode(line: bytes) -> Line:
    """Read a line of either wire. Raises `wire.Error`."""
    with suppress(ValueError, RecursionError):
        if isinstance(found := json.loads(line), dict):
            return found
    return wire.decode(line, MAX_LINE)


def decode_lines(lines: list[bytes]) -> Iterable[Line]:
    """Read many lines, of JSON all at once. Raises `wire.Error` when it is a bad line's turn."""
    with suppress(ValueError, RecursionError):
        found: list[Line] = json.loads(b"[%b]" % b",".join(lines))
        if len(found) == len(lines) and set(map(type, found)) <= {dict}:
            return found
    return map(decode, lines)


def kind_of(line: Line) -> Kind:
    """A message; an answer to a command; an error for a command sent without an id; or the reason
    why the server ends the connection."""
    if "command" in line:
        return "message"
    if line.get("reason") in CLOSE_REASONS:
        return "goodbye"
    if isinstance(line.get("success"), bool) and (
        line["success"] or isinstance(line.get("id"), int)
    ):
        return "answer"
    return "error" if "error" in line or "success" in line else "message"


def rejection(line: Line) -> Exception:
    """What a server says of a command that it refuses, or before it ends the connection."""
    reason = line.get("error") or line.get("reason", line)
    text = f"the server says: {reason}" + (f" ({line['detail']})" if "detail" in line else "")
    # To try again helps in all cases but one.
    is_lost = reason in CLOSE_REASONS and reason != NOT_KNOWN
    return ConnectionAbortedError(text) if is_lost else wire.Error(text)
