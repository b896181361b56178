"""Wrong servers, each caught by a claim of `test_slow_consumers`."""

from broken import caught_by
from stages.beyond import replies, slow_consumers


@caught_by("test_a_subscriber_that_does_not_read_is_disconnected")
class HasNoLimit(slow_consumers.Server):
    """A reader that is stuck is sent more and more."""

    def send(self, outgoing):
        replies.Server.send(self, outgoing)


@caught_by("test_a_subscriber_that_was_too_slow_gets_no_more_work")
class GivesWorkToWhoWasDismissed(slow_consumers.Server):
    """A client that is too slow is cut off, but remains subscribed."""

    async def submit(self, client, data):
        return [] if data is None else await super().submit(client, data)
