"""All topics share one counter."""

from stages import disconnects

CAUGHT_BY = "test_last_seen.test_messages_are_numbered_from_0_in_each_topic_whatever_their_delivery"


class Server(disconnects.Server):
    def send(self, command, client):
        self.indexes[command["topic"]] = max(self.indexes.values(), default=0)
        super().send(command, client)
