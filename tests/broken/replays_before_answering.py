"""The cached messages come before the answer."""

from stages.beyond import replies

CAUGHT_BY = "test_replies.test_a_subscriber_is_answered_first_and_then_caught_up"


class Server(replies.Server):
    def replay(self, command, client):
        waiting, self.answer = self.answer, lambda *_, **__: None
        super().replay(command, client)
        del self.answer
        waiting(client, command, success=True)
