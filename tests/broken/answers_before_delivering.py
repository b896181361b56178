"""A sender is answered before its message goes out."""

from stages.beyond import replies

CAUGHT_BY = "test_replies.test_a_sender_is_answered_after_its_message_was_delivered"


class Server(replies.Server):
    def deliver(self, message, recipients):
        self.held_back = message, list(recipients)

    def answer(self, client, command, **fields):
        super().answer(client, command, **fields)
        if hasattr(self, "held_back"):
            super().deliver(*self.__dict__.pop("held_back"))
