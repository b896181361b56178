"""What a worker held is gone with it."""

from stages.beyond import acks

CAUGHT_BY = "test_acks.test_work_of_a_worker_that_is_gone_goes_to_another"


class Server(acks.Server):
    def redeliver(self, message, loser):
        pass
