"""A client for the tests: a socket, the wire of the article, and nothing of the server's inside."""

import ast
import asyncio
import itertools
import os
import socket
import struct
import uuid
from typing import Any, Self

PATIENCE = 10
"""Seconds that a test waits for a server that does not answer."""

Message = dict[str, Any]

number = itertools.count()


def fresh_topic() -> str:
    """A topic that no other test uses, also not on a server that is tested twice."""
    return f"topic {next(number)} {uuid.uuid4().hex}"


class Peer:
    """One connection to the server under test.

    After `subscribe` and `send` the server has handled the command: the peer sends itself a mark on a private
    topic, and waits for it. `heard` uses the same mark to show what did *not* arrive.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.private = fresh_topic()
        self.inbox: list[Message] = []

    @classmethod
    async def connect(cls, host: str, port: int) -> Self:
        peer = cls(*await asyncio.open_connection(host, port, limit=2**20))
        peer.write_command(command="subscribe", topic=peer.private)
        return peer

    def write_command(self, **fields: Any) -> None:
        self.writer.write(f"{fields}\n".encode())

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
        self.writer.write(line)
        return await self.heard()

    async def heard(self) -> list[Message]:
        """All that the server has sent us since the last time, up to now."""
        await self.settle()
        heard, self.inbox = self.inbox, []
        return heard

    async def settle(self) -> None:
        mark = next(number)
        self.write_command(command="send", topic=self.private, msg=mark)
        while (message := await self.receive()).get("msg") != mark or message["topic"] != self.private:
            if message.get("topic") != self.private:
                self.inbox.append(message)

    async def receive(self) -> Message:
        """The next line from the server."""
        line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
        assert line.endswith(b"\n"), f"expected a line, but the server closed the connection after {line!r}"
        message = ast.literal_eval(line.decode())
        assert isinstance(message, dict), f"expected a dict, got {line!r}"
        return message

    async def rest(self) -> list[Message]:
        """All that comes until the server closes the connection."""
        data = await asyncio.wait_for(self.reader.read(), PATIENCE)
        messages = [ast.literal_eval(line.decode()) for line in data.splitlines()]
        return [message for message in messages if message.get("topic") != self.private]

    async def quit(self) -> list[Message]:
        """Say goodbye; gives what came until the server closed the connection, too."""
        self.writer.write(b"quit\n")
        return await self.rest()

    async def end(self) -> list[Message]:
        """Close our half of the connection; gives what came until the server closed the other."""
        self.writer.write_eof()
        return await self.rest()

    def reset(self) -> None:
        """Break off at once: with no time to linger, close() makes the system send a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0))
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
    assert [list(message) for message in messages] == [["error"]], f"expected one error line, got {messages}"
    assert isinstance(messages[0]["error"], str)
    return messages[0]["error"]
