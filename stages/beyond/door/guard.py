"""Judge what a client says before the queue hears of it.

    carol > {"command": "send", "topic": "salaries", …}
    carol < {"success": false, "reason": "Not allowed"}            and the queue has heard nothing

What is refused is answered here, in its turn: the queue asks for more of a client once it has
answered all that the client has said before.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TypeVar, Union

import msgspec

from stages import wire
from stages.beyond.broker import commands
from stages.beyond.broker.commands import LIMIT, Answer, Command, Rejected
from stages.beyond.server.connection import Connection

logger = logging.getLogger("stages")

T = TypeVar("T", bytes, Answer)

TURN = 100
"""How many lines of a client are judged before the others have a turn."""


class Allowed:
    """A command may be carried out. It is said, so that to forget it allows nothing."""


Verdict = Allowed | Rejected
Judge = Callable[[Command], Verdict]


class Guard:
    """Stands for the reader of a client's connection. What cannot be read as one of the commands
    is refused, too: it may hold a token, which nobody behind should write down."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        connection: Connection,
        kinds: tuple[type[Command], ...],
        judge: Judge,
    ) -> None:
        self.reader = reader
        self.connection = connection
        self.judge = judge
        self.lines = wire.Lines(LIMIT)
        self.judged: deque[bytes | Answer] = deque()  # a line that is allowed, or a refusal
        self.decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Union[kinds])  # noqa: UP007

    async def read(self, size: int) -> bytes:
        """Whole lines that have come, and are allowed; b"" once nothing more will come."""
        while self.judged or await self.listen(size):
            if allowed := self.take(bytes):
                return b"\n".join([*allowed, b""])
            self.connection.write(commands.encode_all(self.take(dict)))
            await self.connection.drained()  # a client that does not read its answers has to wait
        return b""

    def take(self, kind: type[T]) -> list[T]:
        """What comes first of what was judged, as far as it is of one kind."""
        taken = []
        while self.judged and isinstance(self.judged[0], kind):
            taken.append(self.judged[0])
            self.judged.popleft()
        return taken

    async def listen(self, size: int) -> bool:
        """Judge the lines that come; returns whether the client may still say something."""
        data = await self.reader.read(size)
        lines = self.lines.feed(data)
        heard = [line for line in lines if line.strip() or len(line) > LIMIT]
        for number, line in enumerate(heard, 1):
            self.judged.append(self.judgement(line))
            if number % TURN == 0:  # a turn for the others: to read what is wrong takes long
                await asyncio.sleep(0)
        return bool(data or heard)

    def judgement(self, line: bytes) -> bytes | Answer:
        if line.strip() == b"quit":
            return line
        try:
            verdict = self.judge(commands.decode(line, self.decoder))
        except Rejected as problem:
            verdict = problem
        if isinstance(verdict, Allowed):
            return line
        logger.info("Rejected: %s", verdict.detail or verdict.reason)
        return commands.refusal(verdict)
