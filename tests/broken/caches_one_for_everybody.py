"""A `one` message waits for every late subscriber."""

from stages import disconnects

CAUGHT_BY = "test_caching.test_a_one_message_that_nobody_was_there_for_waits_for_one_subscriber"


class Server(disconnects.Server):
    def replay(self, command, client):
        cache = list(self.caches.get(command["topic"], ()))
        super().replay(command, client)
        if cache:
            self.caches[command["topic"]].clear()
            self.caches[command["topic"]].extend(cache)
