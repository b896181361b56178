"""`unsubscribe` is answered, and that is all."""

from stages.beyond import replies

CAUGHT_BY = "test_replies.test_unsubscribing_ends_a_subscription"


class Server(replies.Server):
    def unsubscribe(self, command, client):
        self.answer(client, command, success=True)
