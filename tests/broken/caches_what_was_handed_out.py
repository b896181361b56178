"""A `one` message waits for a second subscriber although a first one got it."""

from collections import deque

from stages import disconnects

CAUGHT_BY = "test_caching.test_a_one_message_that_was_delivered_does_not_wait"


class Server(disconnects.Server):
    def send(self, command, client):
        super().send(command, client)
        if command not in self.caches.get(command["topic"], ()):
            self.caches.setdefault(command["topic"], deque(maxlen=100)).append(command)
