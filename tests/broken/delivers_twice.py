"""Everybody gets each message twice."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_a_message_reaches_every_subscriber_of_its_topic"


class Server(disconnects.Server):
    def recipients(self, command):
        return [*super().recipients(command)] * 2
