"""A message that somebody heard does not wait for the others."""

from stages import disconnects

CAUGHT_BY = "test_caching.test_a_message_that_was_delivered_waits_for_others_all_the_same"


class Server(disconnects.Server):
    def send(self, command, client):
        super().send(command, client)
        if self.topics.get(command["topic"]):
            self.caches.pop(command["topic"], None)
