"""The stages beyond the article, each in a first version that passes the experiment that opens its
lesson, and no other.

What is wrong with them is told in lessons 6 to 9.
"""

import asyncio
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from stages import disconnects, settings, wire
from stages.beyond import acks, replies
from stages.beyond.broker import Batch, Broker, Outgoing, Rules, commands
from stages.beyond.broker.commands import Ack, Message
from stages.beyond.broker.topic import Client, Topic
from stages.beyond.server.connection import Connection
from stages.connection import Reader


class Answering(disconnects.Server):
    """Lesson 6: JSON on the wire, and every command is answered."""

    def handle(self, line: bytes, client: wire.Recipient) -> None:
        answer: dict[str, Any] = {"success": True}
        try:
            command = json.loads(line)
            answer |= {"id": command.pop("id")} if "id" in command else {}
            self.check(command)
            getattr(self, command["command"])(command, client)
        except (ValueError, TypeError) as problem:
            answer |= {"success": False, "reason": str(problem)}
        client.write(json.dumps(answer).encode() + b"\r\n")

    def deliver(self, message: wire.Command, recipients: Collection[wire.Recipient]) -> None:
        for recipient in recipients:
            recipient.write(json.dumps(message).encode() + b"\r\n")


class Waiting(replies.Server):
    """Lesson 7: a sender waits for those that it has reached, each for a second at most."""

    async def converse(self, client: Client, reader: Reader) -> None:
        async for data in self.hear(reader):
            outgoing = await self.submit(client, data)
            reached = {each for clients, _ in outgoing for each in clients}
            for each in sorted(reached - {client}):
                if each in self.connections:  # it may leave while we wait for another
                    await self.wait_for(self.connections[each])

    async def wait_for(self, connection: Connection) -> None:
        connection.limit(2**20)
        try:
            async with asyncio.timeout(1):
                await connection.drained()
        except TimeoutError:
            connection.abort()


class Subscribe(commands.Subscribe, tag="subscribe"):
    ack: bool = False
    prefetch: int = 1


class Acknowledging(Broker[Topic]):
    """Lesson 8: a message for one is kept until it is acknowledged."""

    commands = (Subscribe, commands.Unsubscribe, commands.Send, Ack)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.in_flight: dict[tuple[str, int], tuple[Client, Message]] = {}

    def send_to_one(self, topic: Topic, message: Message) -> None:
        super().send_to_one(topic, message)
        if message.index not in topic.waiting and topic.subscribers:
            (client,), _ = self.outgoing[-1]
            self.in_flight[topic.name, message.index] = client, message

    def ack(self, command: Ack, client: Client) -> None:
        self.in_flight.pop((command.topic, command.index), None)
        self.answer(client, command)

    def disconnect(self, client: Client) -> None:
        super().disconnect(client)
        for key, (worker, message) in list(self.in_flight.items()):
            if worker == client:
                del self.in_flight[key]
                self.send_to_one(self.topic(message.topic), message)


@dataclass(eq=False)
class Journal(acks.Server):
    """Lesson 9: what clients say is written down before anything is said of it."""

    data: str = settings.setting("messages.db", "the file that keeps what was said")

    async def __aenter__(self) -> None:
        self.file = open(self.data, "a+", encoding="utf-8")
        self.file.seek(0)
        for line in self.file:
            self.broker.carry_out(Batch(0.0, [(0, json.loads(line).encode("latin-1"))]))
        self.broker.disconnect(0)

    async def __aexit__(self, *failure: object) -> None:
        await super().__aexit__(*failure)
        self.file.close()

    async def submit(self, client: Client, data: bytes | None) -> Outgoing:
        if data is not None:
            print(json.dumps(data.decode("latin-1")), file=self.file, flush=True)
            os.fsync(self.file.fileno())
        return await super().submit(client, data)
