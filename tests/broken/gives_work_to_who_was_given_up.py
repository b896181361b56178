"""Who is too slow is cut off, but remains subscribed."""

from stages.beyond import slow_consumers

CAUGHT_BY = "test_slow_consumers.test_a_subscriber_that_was_too_slow_gets_no_more_work"


class Server(slow_consumers.Server):
    def disconnect(self, client):
        pass
