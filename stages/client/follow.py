"""Follow a topic across lost connections and restarts of the server.

    async for message in follow(7777, "foo", last_seen=41):
        print(message["index"], message["msg"])

Article: Last seen semantics; Handling client disconnects.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from ssl import SSLContext

from stages import wire
from stages.client import Client
from stages.client.addresses import Where, addresses
from stages.client.conversation import Line
from stages.client.retries import SILENCE, Report, Retries, messages, to_stderr

REMEMBERED = 1000
"""How many messages `follow` remembers, to tell whether it is still the same server."""

END_OF_REPLAY = "end-of-replay"
"""A command that no server knows: its rejection comes after the replay."""


async def follow(
    where: Where,
    topic: str,
    *,
    host: str = "localhost",
    last_seen: int = -1,
    attempts: int | None = None,
    longest_delay: float = 5.0,
    report: Report = to_stderr,
    token: str | None = None,
    ssl: SSLContext | None = None,
) -> AsyncGenerator[Line, None]:
    """Yield the messages of a topic in order, each exactly once, skipping none that is still
    cached, across reconnects.

    `where` is a port at `host`, or the addresses of servers that pass for one (stage `cluster`), as
    in "one:7777,two:7777". After a loss it connects anew, at the next of them, with a delay that
    doubles up to `longest_delay` seconds, with jitter, at most `attempts` times in a row at each
    (None: for ever), and continues where it was. `report` is told of each loss, and of a server
    that has started over, whose indexes begin at 0 again: then all its messages are new. It is
    recognised by its messages: a server with identical messages at the same indexes is assumed to
    be the same one. Raises ConnectionError after the last attempt, and `wire.Error` if the server
    rejects the subscription or does not number its messages (stage `last_seen` does). `token` and
    `ssl` are those of `Client.connect`.
    """
    history = History(last_seen)
    retries = Retries(addresses(where, host), attempts, longest_delay, report, token, ssl)
    while True:
        try:
            async with await retries.connect() as client:
                async for some in arrivals(client, topic, history):
                    retries.failures = 0
                    if history.is_of_another_server(some):
                        index = some[-1]["index"]
                        report(f"the server has started over: {topic} is at index {index} again")
                        history = History(-1)
                    for message in history.add_new(some):
                        yield message
        except (EOFError, OSError) as problem:
            await retries.wait(problem)


async def arrivals(
    client: Client, topic: str, history: "History"
) -> AsyncGenerator[list[Line], None]:
    """Subscribe; yield first what is cached, then each message as it comes."""
    yield await replay(client, topic, history)
    async for message in messages(client):
        yield [require_index(message)]


async def replay(client: Client, topic: str, history: "History") -> list[Line]:
    """Returns the cached messages, from so far back that some we know are among them, if there are
    any."""
    start = max(-1, history.last_seen - REMEMBERED)
    messages = await subscribe(client, topic, start)
    if start > -1 and not any(message["index"] in history.messages for message in messages):
        earlier = await subscribe(client, topic, -1)
        by_index = {message["index"]: message for message in [*earlier, *messages]}
        messages = [by_index[index] for index in sorted(by_index)]
    return messages


async def subscribe(client: Client, topic: str, last_seen: int) -> list[Line]:
    messages: list[Line] = []
    async with asyncio.timeout(SILENCE):
        await client.subscribe(topic, last_seen=last_seen)
    await client.write({"command": END_OF_REPLAY, "id": END_OF_REPLAY})
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                messages.append(require_index(await client.receive()))
        except wire.Error as rejection:
            if END_OF_REPLAY in str(rejection):
                return messages
            raise


def require_index(message: Line) -> Line:
    if not isinstance(message.get("index"), int):
        raise wire.Error(
            "the server does not number its messages: expected stage last_seen or a later one"
        )
    return message


class History:
    """What `follow` has seen: the index it reached, and the last messages."""

    def __init__(self, last_seen: int) -> None:
        self.last_seen = last_seen
        self.messages: dict[int, Line] = {}

    def add_new(self, messages: Iterable[Line]) -> list[Line]:
        """Take in messages; returns those that are new."""
        new = [message for message in messages if self.is_new(message)]
        for message in new:
            self.last_seen = max(self.last_seen, message["index"])
            self.messages[message["index"]] = message
            if len(self.messages) > REMEMBERED:
                del self.messages[min(self.messages)]
        return new

    def is_new(self, message: Line) -> bool:
        """A `one` message is new whatever its index: it was delivered to us, and will be to nobody
        else."""
        return message["index"] > self.last_seen or (
            message.get("delivery") == "one" and message["index"] not in self.messages
        )

    def is_of_another_server(self, messages: list[Line]) -> bool:
        """Whether a server with these cached messages cannot be the one we knew. One that
        redelivers a message for one may well be: it says nothing."""
        cached = [message for message in messages if message.get("delivery") != "one"]
        known = [self.messages[m["index"]] == m for m in cached if m["index"] in self.messages]
        return not all(known) or (
            not any(known) and bool(cached) and cached[-1]["index"] < self.last_seen
        )
