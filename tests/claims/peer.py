"""A client for the tests: a socket, the wire of the article or that of `replies`, and nothing of a
server's inside."""

import asyncio
import itertools
import json
import os
import socket
import struct
import sys
import uuid
from collections.abc import Awaitable
from ssl import SSLContext
from typing import Any, Self, TypeVar

from stages import wire
from stages.client import conversation
from stages.client.conversation import MAX_LINE
from stages.lab.pictures.record import Arrow, Departure, Step, message_text, printable, shortened
from stages.patience import patient

GENEROUS = TIMEOUT = 30
"""Seconds that a test waits for a server that does not answer, or longer if `patience` says so. What
it tells of them is stored in notebooks, and so must be the same."""

PACE = 10
"""Commands that even a slow server carries out in a second."""

DEPTH = 300 if sys.platform == "emscripten" else 60_000
"""Levels of a hostile line. A browser's stack is small, and its overflow ends the interpreter."""

T = TypeVar("T")
Message = dict[str, Any]

number = itertools.count()


FRESH_TOPIC = r"topic-\d+-[0-9a-f]{8}"


def fresh_topic() -> str:
    """A topic that no other test uses, also not on a server that is tested twice."""
    return f"topic-{next(number)}-{uuid.uuid4().hex[:8]}"


class NoAnswer(AssertionError):
    """The server did not do in time what it must always do."""


async def patiently(event: Awaitable[T], what: str, commands: int = 0) -> T:
    """Wait for the server, longer if it still has commands to carry out."""
    patience = TIMEOUT + commands // PACE
    try:
        return await asyncio.wait_for(event, patient(patience))
    except TimeoutError:
        raise NoAnswer(f"expected {what}, but nothing came for {patience:g} seconds") from None
    except OSError as problem:
        raise AssertionError(f"expected {what}, but the connection broke: {problem}") from None


class Peer:
    """One connection to the server under test, and the transcript of what goes over it.

    After `subscribe` and `send` the server has handled the command: the peer sends itself a mark on
    a private topic, and waits for it. `heard` uses the same mark to show what did *not* arrive.

    On the JSON wire, every command has an `id`. An answer that refuses is heard as an error, with
    its detail; those of success are kept apart, in `answers`.
    """

    token: str | None
    ssl: SSLContext | None

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        name: str,
        transcript: list[Step],
        speaks_json: bool,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.name = name
        self.transcript = transcript
        self.speaks_json = speaks_json
        self.limit = 2**20 if speaks_json else 2**16  # of a line, in bytes
        self.answers: list[Message] = []
        self.private = fresh_topic()
        self.inbox: list[Message] = []
        self.said = 0  # commands since the last mark
        self.transcript.append(Step("connect", name, "connects"))

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        name: str = "peer",
        transcript: list[Step] | None = None,
        *,
        speaks_json: bool = False,
        token: str | None = None,
        ssl: SSLContext | None = None,
    ) -> Self:
        opening = asyncio.open_connection(host, port, limit=2**23, ssl=ssl)
        streams = await patiently(opening, "a connection")
        peer = cls(*streams, name, [] if transcript is None else transcript, speaks_json)
        peer.token, peer.ssl = token, ssl
        if token is not None:
            peer.writer.write(peer.line(command="auth", token=token))
        peer.writer.write(peer.line(command="subscribe", topic=peer.private))
        return peer

    async def another(self) -> Self:
        """Another client of the same server."""
        host, port, *_ = self.writer.get_extra_info("peername")
        return await self.connect(
            host,
            port,
            f"{self.name}'s neighbour",
            self.transcript,
            speaks_json=self.speaks_json,
            token=self.token,
            ssl=self.ssl,
        )

    def line(self, **fields: Any) -> bytes:
        """A command as this server's wire spells it. JSON's `delivery` is for all unless it is
        given."""
        if self.speaks_json:
            defaults = {"delivery": "all"} if fields.get("command") == "send" else {}
            fields = defaults | fields | {"id": next(number)}
        return conversation.encode(fields, speaks_json=self.speaks_json)

    def note_leaving(self, how: Departure) -> None:
        self.transcript.append(Step.of_departure(self.name, how))

    def note(self, line: str) -> None:
        self.transcript.append(Step.of_line(self.name, line))

    def write_command(self, **fields: Any) -> None:
        self.transcript.append(Step.of(self.name, fields))
        self.said += 1
        self.writer.write(self.line(**fields))

    async def write(self, data: bytes, piece: int = 2**20) -> None:
        """Send bytes as they are, in pieces of a given length."""
        for line in data.splitlines():
            self.note(line.decode(errors="replace"))
        for start in range(0, len(data), piece):
            self.writer.write(data[start : start + piece])
            await patiently(self.writer.drain(), "the server to read what was sent")

    async def subscribe(self, topic: str, **fields: Any) -> list[Message]:
        """Subscribe; gives what was heard until that was done, thus the replay."""
        self.write_command(command="subscribe", topic=topic, **fields)
        return await self.heard()

    async def send(self, topic: str, *msgs: Any, **fields: Any) -> None:
        for msg in msgs:
            self.write_command(command="send", topic=topic, msg=msg, **fields)
        await self.settle()

    async def ask(self, line: bytes) -> list[Message]:
        """Send a line as it is; gives what was heard until it was handled, thus the answers."""
        await self.write(line)
        return await self.heard()

    async def heard(self) -> list[Message]:
        """All that the server has sent us since the last time, up to now."""
        await self.settle()
        heard, self.inbox = self.inbox, []
        return heard

    async def settle(self) -> None:
        """Wait until the server has handled all that was said: until a message to ourselves comes
        back."""
        mark = f"mark {next(number)}"
        self.writer.write(self.line(command="send", topic=self.private, msg=mark))
        try:
            # A server may say something all the time, and never what we wait for.
            async with asyncio.timeout(patient(5 * TIMEOUT + self.said // PACE)):
                await self.hear_mark(mark)
        except TimeoutError:
            raise NoAnswer(f"expected a line with {mark!r}, but only others came") from None
        self.said = 0

    async def hear_mark(self, mark: str) -> None:
        while (message := await self.receive()).get("msg") != mark or message.get(
            "topic"
        ) != self.private:
            self.sort(message)

    def sort(self, message: Message) -> None:
        """Put an answer with the answers, and all else into the inbox, save our own marks."""
        if "success" in message and self.speaks_json:
            self.answers.append(message)
        elif message.get("topic") != self.private:
            self.inbox.append(message)

    async def receive(self) -> Message:
        """The next line from the server."""
        line = await patiently(self.reader.readline(), "a line", self.said)
        assert line.endswith(b"\n"), (
            f"expected a line, but the server closed the connection after {line!r}"
        )
        return self.parsed(line)

    def parsed(self, line: bytes) -> Message:
        try:
            message = json.loads(line) if self.speaks_json else wire.decode(line, MAX_LINE)
        except ValueError:
            message = None
        wanted = "a JSON object" if self.speaks_json else "a dict literal"
        assert isinstance(message, dict), f"expected {wanted}, got the line {line[:200]!r}"
        if self.speaks_json and message.get("success") is False:
            message = {"error": f"{message['reason']} {message.get('detail', '')}"}
        if message.get("topic") != self.private and "success" not in message and self.transcript:
            if "error" in message:
                text = shortened(printable(str(message["error"])))
                arrow = Arrow("error", self.name, text)
            else:
                arrow = Arrow("deliver", self.name, message_text(message))
            self.transcript[-1].arrows.append(arrow)
        return message

    async def rest(self) -> list[Message]:
        """All that comes until the server closes the connection."""
        data = await patiently(self.reader.read(), "the server to close the connection")
        for line in data.splitlines(keepends=True):
            self.sort(self.parsed(line))
        heard, self.inbox = self.inbox, []
        return heard

    async def quit(self) -> list[Message]:
        """Say goodbye; gives what came until the server closed the connection, too."""
        await self.write(b"quit\n")
        return await self.rest()

    async def end(self) -> list[Message]:
        """Close our half of the connection; gives what came until the server closed the other."""
        if not self.writer.can_write_eof():
            await self.write(b"\nquit\n")  # TLS has no halves
            return await self.rest()
        self.note_leaving("closes its half")
        self.writer.write_eof()
        return await self.rest()

    def reset(self) -> None:
        """Break off at once: with no time to linger, close() makes the system send a TCP reset."""
        self.note_leaving("breaks off")
        no_time = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, no_time
        )
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.transport.abort()


def msgs(messages: list[Message]) -> list[Any]:
    """The texts of the messages."""
    for message in messages:
        assert "msg" in message, f"expected a message, got {message}"
    return [message["msg"] for message in messages]


def only_error(messages: list[Message]) -> str:
    """The text of an error line, which must be all there is."""
    assert [list(message) for message in messages] == [["error"]], (
        f"expected one error line, got {messages}"
    )
    assert isinstance(messages[0]["error"], str)
    return messages[0]["error"]


def indexes(messages: list[Message]) -> list[Any]:
    return [message.get("index") for message in messages]
