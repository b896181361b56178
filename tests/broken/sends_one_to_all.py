"""A message for one goes to all."""

from stages import disconnects

CAUGHT_BY = "test_delivery.test_one_delivery_reaches_exactly_one_subscriber"


class Server(disconnects.Server):
    def recipients(self, command):
        return super().recipients({**command, "delivery": "all"})
