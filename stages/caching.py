"""The last 100 messages of a topic wait for late subscribers.

    bob   > {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'all'}
    alice > {'command': 'subscribe', 'topic': 'foo'}
    alice < {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'all'}

Article: Caching.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from stages import delivery, serve, wire


class Server(delivery.Server):
    """A queue that keeps the last `cache_length` messages of each topic."""

    def __init__(self, *, cache_length: int = 100, **earlier: Any) -> None:
        super().__init__(**earlier)
        if not 0 <= cache_length < 2**31:
            raise ValueError(f"cache_length must be 0 to {2**31 - 1}: got {cache_length}")
        self.cache_length = cache_length
        self.caches: dict[str, deque[wire.Command]] = {}

    def subscribe(self, command: wire.Command, client: wire.Client) -> None:
        super().subscribe(command, client)
        self.replay(command, client)

    def replay(self, command: wire.Command, client: wire.Client) -> None:
        """Catch a subscriber up on the cache, oldest message first."""
        for message in self.news(command, client):
            if message.get("delivery") == "one":
                # Handed over: no `one` message may ever reach a second client.
                self.drop(message)
            self.deliver(message, [client])

    def news(self, command: wire.Command, client: wire.Client) -> Iterable[wire.Command]:
        """The cached messages that a subscriber needs: here, all."""
        return list(self.caches.get(command["topic"], ()))

    def send(self, command: wire.Command, client: wire.Client) -> None:
        if command.get("delivery") != "one" or not self.takers(command):
            self.keep(command)
        super().send(command, client)

    def keep(self, message: wire.Command) -> None:
        """Put a message into the cache; the oldest makes room."""
        self.caches.setdefault(message["topic"], deque(maxlen=self.cache_length)).append(message)

    def drop(self, message: wire.Command) -> None:
        """Take a message out of the cache."""
        self.caches[message["topic"]].remove(message)


if __name__ == "__main__":
    serve.main(Server)
