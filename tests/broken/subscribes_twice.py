"""Subscribing twice delivers twice."""

from stages import disconnects

CAUGHT_BY = "test_basic.test_subscribing_twice_does_not_deliver_twice"


class Server(disconnects.Server):
    def __init__(self):
        super().__init__()
        self.subscribed = []

    def subscribe(self, command, client):
        super().subscribe(command, client)
        self.subscribed.append((command["topic"], client))

    def recipients(self, command):
        return [client for topic, client in self.subscribed if topic == command["topic"]]
