"""Everything can be acknowledged."""

from stages.beyond import acks

CAUGHT_BY = "test_acks.test_only_what_one_holds_can_be_acknowledged"


class Server(acks.Server):
    def ack(self, command, client):
        super().ack(command, client)

    def answer(self, client, command, **fields):
        super().answer(client, command, **{**fields, "success": True} if "index" in command else fields)
