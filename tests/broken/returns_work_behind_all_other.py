"""Work that came back has to wait behind what came later."""

from stages.beyond import acks

CAUGHT_BY = "test_acks.test_work_that_nobody_can_take_waits_in_the_order_of_its_index"


class Server(acks.Server):
    def news(self, command, client):
        return sorted(super().news(command, client), key=lambda message: "redelivered" in message)
