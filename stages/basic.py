"""Subscribe to a topic, and get every message sent to it.

    alice > {'command': 'subscribe', 'topic': 'foo'}
    bob   > {'command': 'send', 'topic': 'foo', 'msg': 'blah'}
    alice < {'command': 'send', 'topic': 'foo', 'msg': 'blah'}

Article: Introduction, which starts from the server of Part I.
"""

import asyncio
import logging
from collections.abc import Collection

from stages import command_line, connection, wire

logger = logging.getLogger("stages")


class Server:
    """A queue that passes each message on to the current subscribers of its topic."""

    commands: tuple[str, ...] = ("subscribe", "send")

    def __init__(self) -> None:
        # The inner dict serves as an ordered set: a client that subscribes twice still gets
        # each message once.
        self.topics: dict[str, dict[wire.Recipient, None]] = {}

    async def handle_client(self, reader: asyncio.StreamReader, client: wire.Recipient) -> None:
        """Serve one client until it says `quit` or reaches end of file."""
        async for line in connection.read_lines(reader):
            self.handle(line, client)
        # Its subscriptions stay behind, as in the article: `disconnects` repairs that.

    def handle(self, line: bytes, client: wire.Recipient) -> None:
        """Carry out one line, or answer what is wrong with it."""
        try:
            command = wire.decode(line)
            self.check(command)
        except wire.Error as error:
            logger.info("Rejected: %s", error)
            client.write(wire.encode({"error": str(error)}))
        else:
            getattr(self, command["command"])(command, client)

    def check(self, command: wire.Command) -> None:
        """Raise `wire.Error` unless every field is as it must be; a bad command then changes
        nothing."""
        if command.get("command") not in self.commands:
            raise wire.FieldError(command, "command", " or ".join(map(repr, self.commands)))
        if not isinstance(command.get("topic"), str):
            raise wire.FieldError(command, "topic", "a string")
        if command["command"] == "send" and "msg" not in command:
            raise wire.FieldError(command, "msg", "any literal")

    def subscribe(self, command: wire.Command, client: wire.Recipient) -> None:
        """From now on, send the client every message of the topic."""
        self.topics.setdefault(command["topic"], {})[client] = None

    def send(self, command: wire.Command, client: wire.Recipient) -> None:
        """Pass the client's message on to its recipients."""
        self.deliver(command, self.recipients(command))

    def recipients(self, command: wire.Command) -> Collection[wire.Recipient]:
        """Who gets this message: everybody subscribed to its topic."""
        return self.topics.get(command["topic"], {})

    def deliver(self, message: wire.Command, recipients: Collection[wire.Recipient]) -> None:
        """Write a message to its recipients."""
        line = wire.encode(message)
        for recipient in recipients:
            recipient.write(line)


if __name__ == "__main__":
    command_line.main(Server)
