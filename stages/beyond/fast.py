"""The same promises, many times as fast.

    bob   > {"command": "send", "topic": "foo", "msg": "a", "delivery": "all"}
    bob   > {"command": "send", "topic": "foo", "msg": "b", "delivery": "all"}        both in a read
    alice < {"command": "send", "topic": "foo", "msg": "a", "delivery": "all", "index": 0}
    alice < {"command": "send", "topic": "foo", "msg": "b", "delivery": "all", "index": 1}
            encoded once, for however many subscribers; a write for each
    bob   < {"success": true}
    bob   < {"success": true}                                                        both in a write

What costs time is not a message but each thing that is done for it. So all that has come from a
client goes through the server together.

Source: batching, as in Redis' pipelines, Kafka's record batches, LMAX and NATS' clients.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, ClassVar

from msgspec import UNSET

from stages import command_line, settings
from stages.beyond import acks, replies
from stages.beyond.broker import Outgoing, commands
from stages.beyond.broker.commands import (
    LIMIT,
    UNDECODABLE,
    Answer,
    Command,
    Line,
    Message,
    Rejected,
    Send,
)
from stages.beyond.broker.topic import Client
from stages.beyond.log.file import Log
from stages.beyond.log.journal import Journal
from stages.beyond.server.sequencer import AtOnce
from stages.beyond.server.whole_lines import WholeLines, before_quit, cut
from stages.connection import Reader

new_event_loop: command_line.LoopFactory = asyncio.new_event_loop
with suppress(ImportError):  # faster, and not needed
    from uvloop import new_event_loop

CHUNK = 2**17
"""How many bytes of one client are read at once."""

SUCCESS: Answer = {"success": True}

by_delivery = attrgetter("delivery")


class Broker(acks.Broker):
    """The same rules, for many messages at a time. (Whoever extends `send` has to extend `send_run`
    in the same way.)"""

    def handle_lines(self, client: Client, data: bytes) -> None:
        for kind, some in groupby(self.decode_lines(data), type):
            if kind is Send:
                for delivery, sends in groupby(some, by_delivery):
                    if delivery == "all":
                        self.send_run(list(sends), client)
                    else:
                        self.handle_each(sends, client)
            else:
                self.handle_each(some, client)

    def decode_lines(self, data: bytes) -> list[Any]:
        """A command for each line, or what is wrong with it."""
        lines = data.split(b"\n")
        if len(data) <= LIMIT:
            with suppress(*UNDECODABLE):
                return list(map(self.decoder.decode, lines))
        # Something is wrong with one of them.
        return [self.decode(line) for line in lines if line.strip() or len(line) > LIMIT]

    def decode(self, line: bytes) -> Command | Rejected:
        try:
            return commands.decode(line, self.decoder)
        except Rejected as problem:
            return problem

    def handle_each(self, some: Iterator[Any], client: Client) -> None:
        for command in some:
            if isinstance(command, Rejected):
                self.refuse(client, command.id, command.reason, command.detail)
            else:
                self.methods[type(command)](command, client)

    def send_run(self, sends: list[Send], client: Client) -> None:
        """Number messages for all, keep them, pass them on; and only then answer.

        Topics may alternate: messages are encoded together as long as the same clients get them.
        """
        topic = self.topic(sends[0].topic)
        recipients, messages = topic.subscribers.clients, list[Message]()
        for send in sends:
            if send.topic != topic.name:
                topic.trim(self.rules.cache_length)
                topic = self.topic(send.topic)
                if topic.subscribers.clients != recipients:
                    self.tell_encoded(recipients, messages)
                    recipients, messages = topic.subscribers.clients, []
            message = self.numbered(topic, send)
            topic.next_index += 1
            messages.append(message)
            if message.cache is not False:
                topic.cache.append(message)
        topic.trim(self.rules.cache_length)
        self.tell_encoded(recipients, messages)
        self.answer_run(sends, client)

    def answer_run(self, sends: list[Send], client: Client) -> None:
        answers = [SUCCESS if send.id is UNSET else SUCCESS | {"id": send.id} for send in sends]
        self.tell_encoded([client], answers)

    def tell_encoded(self, clients: Sequence[Client], what: Sequence[Message | Answer]) -> None:
        if clients:
            self.outgoing.append((tuple(clients), [commands.encode_all(what)]))


class OneWrite:
    """An outlet that gives each client at once all that a batch has for it."""

    def __init__(self, server: acks.Server) -> None:
        self.server = server

    def send(self, outgoing: Outgoing) -> None:
        replies.log_refusals(outgoing)
        parts: dict[Client, list[Sequence[Line]]] = defaultdict(list)
        for clients, what in outgoing:
            for client in clients:
                parts[client].append(what)  # not copied: a long replay may be shared by many
        for client, some in parts.items():
            self.server.outboxes[client].put(chain.from_iterable(some))

    def dismiss(self, reason: str) -> None:
        self.server.dismiss(reason)


@dataclass(eq=False)
class Server(acks.Server):
    """A server that handles all that has come of a client at once, and keeps a log in the file
    `data`, if it has one."""

    cache_length: int = settings.setting(
        10_000, "messages kept of each topic", at_least=0, trial=100
    )
    data: str = settings.setting("", "the file that keeps the messages; without it, none does")
    log_limit: int = settings.setting(
        2**26, "bytes of log after which a snapshot replaces it", at_least=1
    )

    broker_class: ClassVar[type[acks.Broker]] = Broker
    # The others wait for one batch: 1 millisecond, or 15 if each line has to be refused.
    lines_in_turn = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        outlet = OneWrite(self)
        if self.data:
            file = Log(self.data)
            self.sequencer = Journal(
                self.broker, file, outlet, log_limit=self.log_limit, time=self.time
            )
        else:
            self.sequencer = AtOnce(self.broker, outlet, self.time)

    async def hear(self, reader: Reader) -> AsyncIterator[bytes]:
        lines, ended = WholeLines(), False
        with suppress(OSError):
            while not ended:
                data = await reader.read(CHUNK)
                said, quits = before_quit(lines.feed(data))
                ended = quits or not data
                for some in cut(said, self.lines_in_turn):
                    yield some
                    await asyncio.sleep(0)  # a turn for the others


if __name__ == "__main__":
    command_line.main(Server, new_event_loop)
