"""Wrong servers, each caught by a claim of `test_disconnects`."""

from broken import caught_by
from stages import disconnects


@caught_by("test_a_client_that_left_is_sent_nothing")
class KeepsDeadSubscribers(disconnects.Server):
    """A client that is gone stays subscribed."""

    def disconnect(self, client):
        pass


@caught_by("test_a_client_that_reset_its_connection_is_sent_nothing")
class ForgetsOnlyThePolite(disconnects.Server):
    """A client that resets its connection stays subscribed."""

    async def handle_client(self, reader, client):
        await super().handle_client(reader, client)
        if reader.exception():
            self.topics.update(self.kept)

    def disconnect(self, client):
        self.kept = {topic: dict(self.topics[topic]) for topic in self.topics_of.get(client, ())}
        super().disconnect(client)


@caught_by("test_a_client_that_left_one_of_many_topics_behind_left_them_all")
class ForgetsOneTopicOnly(disconnects.Server):
    """A client that is gone is removed from just one of its topics."""

    def disconnect(self, client):
        topics = self.topics_of.pop(client, ())
        for topic in list(topics)[:1]:
            del self.topics[topic][client]


@caught_by("test_one_delivery_reaches_those_who_are_still_there")
class DrawsAmongAllItHasEverSeen(disconnects.Server):
    """A message for one may go to a client that has left."""

    ever = ()

    def subscribe(self, command, client):
        super().subscribe(command, client)
        self.ever = (*self.ever, (command["topic"], client))

    def recipients(self, command):
        ever = [client for topic, client in self.ever if topic == command["topic"]]
        return [self.random.choice(ever)] if ever and command.get("delivery") == "one" else ever


@caught_by("test_a_topic_outlives_its_last_subscriber")
class ForgetsTheTopic(disconnects.Server):
    """A topic without subscribers starts anew."""

    def disconnect(self, client):
        topics = self.topics_of.get(client, ())
        super().disconnect(client)
        for topic in topics:
            if topic not in self.topics:
                self.caches.pop(topic, None)
                self.indexes.pop(topic, None)
