"""Judge what a client says before the queue hears of it.

    b'{"command": "send", "topic": "salaries", …}'
    ->  b'{"command":"refused","reason":"Not allowed", …}'

Whatever is refused keeps its place: what stands there instead makes the queue answer when its turn
has come, after everything that was said before. Each line is read with the queue's own types, so it
cannot mean one thing here and another there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Union

import msgspec

from stages import wire
from stages.beyond import acks, commands
from stages.beyond.commands import LIMIT, MALFORMED, Command, Rejected
from stages.beyond.log import encode

TURN = 100
"""How many lines of a client are judged before the others have a turn."""


class Allowed:
    """A command may be carried out. It is said, so that to forget it allows nothing."""


Verdict = Allowed | Rejected
Judge = Callable[[Command], Verdict]


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
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[(*kinds, Refused)])

    async def read(self, size: int) -> bytes:
        """What has come, judged; whole lines of it. b"" once nothing more will come."""
        while True:
            data = await self.reader.read(size)
            said = [line for line in self.lines.feed(data) if line.strip() or len(line) > LIMIT]
            if said:
                return b"".join([b"%s\n" % self.judged(line) async for line in in_turns(said)])
            if not data:
                return b""

    def judged(self, line: bytes) -> bytes:
        if line.strip() == b"quit":
            return line
        try:
            command = commands.decode(line, self.decoder)
        except Rejected as problem:  # it may hold a token, which nobody behind should write down
            verdict: Verdict = problem
        else:
            verdict = foreign(command) if isinstance(command, Refused) else self.judge(command)
        if isinstance(verdict, Allowed):
            return line
        return encode(Refused(reason=verdict.reason, detail=verdict.detail, id=verdict.id))


def foreign(command: Refused) -> Rejected:
    """A client has said what only the door may say: to the queue it is no command."""
    return Rejected(MALFORMED, "Invalid value 'refused' - at `$.command`", command.id)


async def in_turns(lines: list[bytes]) -> AsyncIterator[bytes]:
    """Yield lines, and give others a turn now and then: to read what is wrong takes long."""
    for number, line in enumerate(lines, 1):
        yield line
        if number % TURN == 0:
            await asyncio.sleep(0)
