"""The newest message is replayed first."""

from collections import deque

from stages import disconnects

CAUGHT_BY = "test_caching.test_a_message_waits_for_every_late_subscriber"


class Server(disconnects.Server):
    def replay(self, command, client):
        cache = self.caches.get(command["topic"], deque())
        cache.reverse()
        super().replay(command, client)
        cache.reverse()
