"""Who is subscribed already gets no replay."""

from stages import disconnects

CAUGHT_BY = "test_caching.test_subscribing_again_replays_the_cache_anew"


class Server(disconnects.Server):
    def subscribe(self, command, client):
        if client not in self.topics.get(command["topic"], {}):
            super().subscribe(command, client)
