"""Everything is in memory."""

from stages.beyond import durable

CAUGHT_BY = "test_durable.test_messages_wait_across_a_restart"


class Server(durable.Server):
    async def __aenter__(self):
        self.storage.path = ":memory:"
        await super().__aenter__()
