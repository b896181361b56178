"""A client that is gone is forgotten.

    alice > {'command': 'subscribe', 'topic': 'foo'}
    alice > quit
    bob   > {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'one'}
    carol > {'command': 'subscribe', 'topic': 'foo'}
    carol < {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'one', 'index': 0}

Article: Handling client disconnects.
"""

import asyncio
from typing import Any

from stages import command_line, last_seen, wire


class Server(last_seen.Server):
    """A queue that sends nothing to clients that have left."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # The reverse of `topics`: where to look for a client that leaves.
        self.topics_of: dict[wire.Recipient, set[str]] = {}

    async def handle_client(self, reader: asyncio.StreamReader, client: wire.Recipient) -> None:
        try:
            await super().handle_client(reader, client)
        finally:  # however it went: quit, end of file, reset or error
            self.disconnect(client)

    def subscribe(self, command: wire.Command, client: wire.Recipient) -> None:
        self.topics_of.setdefault(client, set()).add(command["topic"])
        super().subscribe(command, client)

    def disconnect(self, client: wire.Recipient) -> None:
        """Forget the client, and each topic that nobody else subscribes to."""
        for topic in self.topics_of.pop(client, ()):
            del self.topics[topic][client]
            if not self.topics[topic]:
                del self.topics[topic]


if __name__ == "__main__":
    command_line.main(Server)
