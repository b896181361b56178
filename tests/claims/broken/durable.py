"""Wrong servers and brokers, each caught by a claim of `test_durable`."""

import random
from pathlib import Path

import msgspec

from broken import caught_by
from stages.beyond import acks, durable


@caught_by("test_messages_wait_across_a_restart")
class StartsAfresh(durable.Server):
    """The file is removed at the start."""

    async def __aenter__(self):
        for path in Path(self.data).parent.glob("messages.db*"):
            path.unlink()
        await super().__aenter__()


@caught_by("test_an_index_is_never_used_twice")
class CountsWhatItHasOnly(acks.Broker):
    """After a restart, indexes continue after the last message that is there."""

    def begin_life(self, rules):
        super().begin_life(rules)
        for topic in self.topics.values():
            indexes = [message.index for message in [*topic.cache, *topic.waiting.values()]]
            topic.next_index = max(indexes, default=-1) + 1


class ByLuck(acks.Broker):
    def begin_life(self, rules):
        super().begin_life(msgspec.structs.replace(rules, seed=random.getrandbits(32)))


@caught_by("test_work_that_was_done_does_not_come_again_whoever_did_it")
class DrawsOtherLots(durable.Server):
    """What is carried out again, since there is no snapshot, is handed to other workers."""

    broker_class = ByLuck

    def __post_init__(self):
        super().__post_init__()
        self.journal.begin_snapshot = lambda: None


@caught_by("test_work_that_was_not_acknowledged_comes_again_after_a_restart")
class ForgetsWhatIsInFlight(acks.Broker):
    """What workers had in flight when the server stopped is gone."""

    def begin_life(self, rules):
        for topic in self.topics.values():
            topic.in_flight.clear()
        super().begin_life(rules)


@caught_by("test_what_was_missed_is_known_after_a_restart")
class ForgetsWhatWasEvicted(acks.Broker):
    """After a restart nothing has been missed."""

    def begin_life(self, rules):
        super().begin_life(rules)
        for topic in self.topics.values():
            topic.evicted = 0
