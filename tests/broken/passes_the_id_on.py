"""The sender's `id` is delivered to everybody."""

from stages.beyond import replies

CAUGHT_BY = "test_replies.test_a_message_is_the_senders_object_and_its_index"


class Server(replies.Server):
    def send(self, command, client):
        number = command.get("id")
        deliver = self.deliver
        self.deliver = lambda message, recipients: deliver({**message, "id": number}, recipients)
        super().send(command, client)
        del self.deliver
