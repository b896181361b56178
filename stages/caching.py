"""The last 100 messages of a topic wait for late subscribers.

    bob   > {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'all'}
    alice > {'command': 'subscribe', 'topic': 'foo'}
    alice < {'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'all'}

Article: Caching.
"""

from collections import deque
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
        topic = command["topic"]
        for message in list(self.caches.get(topic, ())):
            if self.is_news(message, command):
                client.write(wire.encode(message))
                if message.get("delivery") == "one":
                    # Handed over: no `one` message may ever reach a second client.
                    self.caches[topic].remove(message)

    def is_news(self, message: wire.Command, command: wire.Command) -> bool:
        """Whether the subscriber still needs this cached message: here, always."""
        return True

    def send(self, command: wire.Command, client: wire.Client) -> None:
        topic = command["topic"]
        if command.get("delivery") != "one" or not self.topics.get(topic):
            self.caches.setdefault(topic, deque(maxlen=self.cache_length)).append(command)
        super().send(command, client)


if __name__ == "__main__":
    serve.main(Server)
