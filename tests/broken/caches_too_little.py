"""99 messages wait."""

from stages import disconnects

CAUGHT_BY = "test_caching.test_the_last_100_messages_wait"


class Server(disconnects.Server):
    def __init__(self):
        super().__init__(cache_length=99)
