"""What was acknowledged comes again."""

from stages.beyond import acks

CAUGHT_BY = "test_acks.test_what_was_acknowledged_does_not_come_again"


class Server(acks.Server):
    def ack(self, command, client):
        self.answer(client, command, success=True)
