"""A client that is gone is removed from just one of its topics."""

from stages import disconnects

CAUGHT_BY = "test_disconnects.test_a_client_that_left_one_of_many_topics_behind_left_them_all"


class Server(disconnects.Server):
    def disconnect(self, client):
        topics = self.topics_of.pop(client, ())
        for topic in list(topics)[:1]:
            del self.topics[topic][client]
