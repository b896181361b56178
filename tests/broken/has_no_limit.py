"""A reader that is stuck is sent more and more."""

from stages.beyond import slow_consumers

CAUGHT_BY = "test_slow_consumers.test_a_subscriber_that_does_not_read_is_disconnected"


class Server(slow_consumers.Server):
    def deliver(self, message, recipients):
        super(slow_consumers.Server, self).deliver(message, recipients)
