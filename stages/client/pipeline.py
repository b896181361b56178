"""Commands that don't wait for their answers, one by one.

    async with client.pipeline() as pipeline:
        for text in texts:
            await pipeline.send("foo", text)

Source: Redis' pipelining.
"""

from collections import deque
from typing import Protocol, Self

from stages import wire
from stages.client.conversation import Line, Verbs, rejection

WINDOW = 1000
"""How many commands may be without an answer."""


class Speaker(Protocol):
    """What a pipeline asks of a client."""

    speaks_json: bool

    async def write(self, command: wire.Command) -> None: ...
    def say(self, command: wire.Command) -> int: ...
    async def answer_to(self, number: int) -> Line: ...
    def forget(self, number: int) -> None: ...


class Pipeline(Verbs):
    """The commands of a client, sent one right after the other: they return an empty dict.

    The end of the block waits for all answers; then it raises the first `wire.Error`, if the server
    has refused something. The rest was carried out all the same.
    """

    def __init__(self, client: Speaker) -> None:
        self.client = client
        self.speaks_json = client.speaks_json
        self.unanswered: deque[int] = deque()
        self.refused: Exception | None = None

    async def ask(self, command: wire.Command) -> Line:
        if not self.speaks_json:
            await self.client.write(command)
        else:
            self.unanswered.append(self.client.say(command))
            if len(self.unanswered) > WINDOW:
                await self.wait(WINDOW // 2)
        return {}

    async def wait(self, rest: int) -> None:
        """Wait until at most `rest` commands are without an answer. (And read meanwhile: a server
        whose answers nobody reads would stop reading our commands.)"""
        while len(self.unanswered) > rest:
            answer = await self.client.answer_to(self.unanswered[0])
            self.client.forget(self.unanswered.popleft())
            if not answer["success"] and not self.refused:
                self.refused = rejection(answer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        try:
            if kind is None:
                await self.wait(0)
        finally:
            for number in self.unanswered:
                self.client.forget(number)
        if kind is None and self.refused:
            raise self.refused
