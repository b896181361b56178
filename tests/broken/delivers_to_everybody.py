"""A message goes to the subscribers of all topics."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_a_message_reaches_nobody_else"


class Server(disconnects.Server):
    def recipients(self, command):
        return {client for clients in self.topics.values() for client in clients}
