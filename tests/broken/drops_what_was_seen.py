"""A `one` message that was seen already is removed, though it was not sent."""

from stages import disconnects

CAUGHT_BY = "test_last_seen.test_a_one_message_that_was_seen_already_waits_on_for_somebody_else"


class Server(disconnects.Server):
    def replay(self, command, client):
        super().replay(command, client)
        for message in list(self.caches.get(command["topic"], ())):
            if message.get("delivery") == "one":
                self.caches[command["topic"]].remove(message)
