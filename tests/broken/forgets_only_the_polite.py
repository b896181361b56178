"""A client that resets its connection stays subscribed."""

from stages import disconnects

CAUGHT_BY = "test_disconnects.test_a_client_that_reset_its_connection_is_sent_nothing"


class Server(disconnects.Server):
    async def handle_client(self, reader, client):
        await super().handle_client(reader, client)
        if reader.exception():
            self.topics.update(self.kept)

    def disconnect(self, client):
        self.kept = {topic: dict(self.topics[topic]) for topic in self.topics_of.get(client, ())}
        super().disconnect(client)
