"""A client that is gone stays subscribed."""

from stages import disconnects

CAUGHT_BY = "test_disconnects.test_a_client_that_left_is_sent_nothing"


class Server(disconnects.Server):
    def disconnect(self, client):
        pass
