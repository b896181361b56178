"""A busy topic pushes the messages of others out of the cache."""

from stages import disconnects

CAUGHT_BY = "test_caching.test_each_topic_has_a_cache_of_its_own"


class Server(disconnects.Server):
    def send(self, command, client):
        super().send(command, client)
        while sum(map(len, self.caches.values())) > self.cache_length:
            next(cache for cache in self.caches.values() if cache).popleft()
