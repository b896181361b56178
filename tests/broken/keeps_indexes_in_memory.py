"""After a restart a topic starts at 0 again."""

from stages.beyond import durable

CAUGHT_BY = "test_durable.test_an_index_is_never_used_twice"


class Server(durable.Server):
    def count(self, topic):
        pass
