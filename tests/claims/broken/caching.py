"""Wrong servers, each caught by a claim of `test_caching`."""

import asyncio
from collections import deque

from broken import caught_by
from stages import disconnects, wire


@caught_by("test_a_message_waits_for_every_late_subscriber")
class ReplaysNewestFirst(disconnects.Server):
    """The newest message is replayed first."""

    def replay(self, command, client):
        cache = self.caches.get(command["topic"], deque())
        cache.reverse()
        super().replay(command, client)
        cache.reverse()


@caught_by("test_the_last_100_messages_wait")
class CachesTooLittle(disconnects.Server):
    """99 messages wait."""

    def __init__(self):
        super().__init__(cache_length=99)


@caught_by("test_each_topic_has_a_cache_of_its_own")
class HasOneCacheForAllTopics(disconnects.Server):
    """A busy topic pushes the messages of others out of the cache."""

    def send(self, command, client):
        super().send(command, client)
        while sum(map(len, self.caches.values())) > self.cache_length:
            next(cache for cache in self.caches.values() if cache).popleft()


@caught_by("test_a_message_that_was_delivered_waits_for_others_all_the_same")
class CachesOnlyWhatNobodyHeard(disconnects.Server):
    """A message that somebody heard does not wait for the others."""

    def send(self, command, client):
        super().send(command, client)
        if self.topics.get(command["topic"]):
            self.caches.pop(command["topic"], None)


@caught_by("test_a_one_message_that_nobody_was_there_for_waits_for_one_subscriber")
class CachesOneForEverybody(disconnects.Server):
    """A `one` message waits for every late subscriber."""

    def replay(self, command, client):
        cache = list(self.caches.get(command["topic"], ()))
        super().replay(command, client)
        if cache:
            self.caches[command["topic"]].clear()
            self.caches[command["topic"]].extend(cache)


@caught_by("test_a_one_message_that_was_delivered_does_not_wait")
class CachesWhatWasHandedOut(disconnects.Server):
    """A `one` message waits for a second subscriber although a first one got it."""

    def send(self, command, client):
        super().send(command, client)
        if command not in self.caches.get(command["topic"], ()):
            self.caches.setdefault(command["topic"], deque(maxlen=100)).append(command)


@caught_by("test_subscribing_again_replays_the_cache_anew")
class ReplaysOnce(disconnects.Server):
    """Who is subscribed already gets no replay."""

    def subscribe(self, command, client):
        if client not in self.topics.get(command["topic"], {}):
            super().subscribe(command, client)


@caught_by("test_the_cache_comes_before_new_messages")
class ReplaysLater(disconnects.Server):
    """The replay waits for the next turn of the event loop; by then something new may have been
    sent."""

    def replay(self, command, client):
        asyncio.get_running_loop().call_soon(super().replay, command, client)


@caught_by("test_a_rejected_message_does_not_wait")
class KeepsWhatItRejects(disconnects.Server):
    """A message is cached before it is checked."""

    def check(self, command):
        try:
            super().check(command)
        except wire.Error:
            if "msg" in command:
                self.keep({**command, "delivery": "all", "index": 0})
            raise


@caught_by("test_messages_for_all_and_for_one_wait_in_one_order")
class ReplaysJobsLast(disconnects.Server):
    """What was for all is replayed before what was for one."""

    def unseen(self, command):
        return sorted(super().unseen(command), key=lambda each: each.get("delivery") == "one")
