"""What a worker holds is in memory only."""

from stages.beyond import durable

CAUGHT_BY = "test_durable.test_work_that_was_not_acknowledged_comes_again_after_a_restart"


class Server(durable.Server):
    def hold(self, message, client):
        super().hold(message, client)
        self.batch.changes.delete(message["topic"], message["index"])

    def redeliver(self, message, loser):
        pass
