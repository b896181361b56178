"""Redelivered work looks new."""

from stages.beyond import acks

CAUGHT_BY = "test_acks.test_work_of_a_worker_that_is_gone_goes_to_another"


class Server(acks.Server):
    def encode(self, message):
        return super().encode({name: value for name, value in message.items() if name != "redelivered"})
