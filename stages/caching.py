"""The last 100 messages of a topic wait for late subscribers.

    bob   > {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'all'}
    alice > {'command': 'subscribe', 'topic': 'foo'}
    alice < {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'all'}

Article: Caching.
"""

from collections import deque
from typing import Any

from stages import command_line, delivery, wire


class Server(delivery.Server):
    """A queue that keeps the last `cache_length` messages of each topic."""

    def __init__(self, *, cache_length: int = 100, **settings: Any) -> None:
        super().__init__(**settings)
        self.cache_length = cache_length
        self.caches: dict[str, deque[wire.Command]] = {}

    def subscribe(self, command: wire.Command, client: wire.Recipient) -> None:
        super().subscribe(command, client)
        self.replay(command, client)

    def replay(self, command: wire.Command, client: wire.Recipient) -> None:
        """Catch a subscriber up on the cache, oldest message first."""
        for message in self.unseen(command):
            if message.get("delivery") == "one":
                # Handed over: no `one` message may ever reach a second client.
                self.caches[message["topic"]].remove(message)
            self.deliver(message, [client])

    def unseen(self, command: wire.Command) -> list[wire.Command]:
        """The cached messages that a subscriber needs: here, all."""
        return list(self.caches.get(command["topic"], ()))

    def send(self, command: wire.Command, client: wire.Recipient) -> None:
        recipients = self.recipients(command)
        if command.get("delivery") != "one" or not recipients:
            self.keep(command)
        self.deliver(command, recipients)

    def keep(self, message: wire.Command) -> None:
        """Add a message to the cache, evicting the oldest if it is full."""
        self.caches.setdefault(message["topic"], deque(maxlen=self.cache_length)).append(message)


if __name__ == "__main__":
    command_line.main(Server)
