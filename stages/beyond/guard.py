"""Judge what a client says before the queue hears of it.

    b'{"command": "send", "topic": "salaries", …}'
    ->  b'{"command":"refused","reason":"Not allowed", …}'

Whatever is refused keeps its place: what stands there instead makes the queue answer when its turn
has come, after everything that was said before. Each line is read with the queue's own types, so it
cannot mean one thing here and another there.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Union

import msgspec

from stages import wire
from stages.beyond import acks, commands
from stages.beyond.commands import LIMIT, Command, Rejected
from stages.beyond.log import encode

Judge = Callable[[Command], Rejected | None]
"""What is wrong with a command, if it must not be carried out."""


class Refused(Command, tag="refused", kw_only=True):
    """Stands for a line that was refused."""

    topic: str = ""
    reason: str
    detail: str = ""


def behind_a_guard(kind: type[acks.Broker]) -> type[acks.Broker]:
    """A broker with the same rules, which answers what was refused."""

    class Behind(kind):  # type: ignore[valid-type, misc]
        commands = (*kind.commands, Refused)

        def refused(self, command: Refused, client: int) -> None:
            self.refuse(client, command.id, command.reason, command.detail)

    return Behind


class Guard:
    """Stands for the reader of a client's connection."""

    def __init__(
        self, reader: asyncio.StreamReader, kinds: tuple[type[Command], ...], judge: Judge
    ) -> None:
        self.reader = reader
        self.judge = judge
        self.lines = wire.Lines(LIMIT)
        self.decoder = decoder_of(kinds)
        self.decoder_behind = decoder_of((*kinds, Refused))

    async def read(self, size: int) -> bytes:
        """What has come, judged; whole lines of it. b"" once nothing more will come."""
        while True:
            data = await self.reader.read(size)
            said = [line for line in self.lines.feed(data) if line.strip() or len(line) > LIMIT]
            if said:
                return b"".join(b"%s\n" % self.judged(line) for line in said)
            if not data:
                return b""

    def judged(self, line: bytes) -> bytes:
        if line.strip() == b"quit":
            return line
        try:
            wrong = self.judge(commands.decode(line, self.decoder))
        except Rejected as problem:
            if not self.is_understood_behind(line):
                return line  # the queue will say so itself
            wrong = problem
        if wrong is None:
            return line
        return encode(Refused(reason=wrong.reason, detail=wrong.detail, id=wrong.id))

    def is_understood_behind(self, line: bytes) -> bool:
        """Whether a client has said what only we may say."""
        try:
            commands.decode(line, self.decoder_behind)
        except Rejected:
            return False
        return True


def decoder_of(kinds: tuple[type[Command], ...]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(Union[kinds])  # noqa: UP007
