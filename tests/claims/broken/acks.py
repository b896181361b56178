"""Wrong brokers, each caught by a claim of `test_acks`."""

import msgspec
from msgspec import UNSET, UnsetType

from broken import caught_by
from stages.beyond import acks
from stages.beyond.broker import commands
from stages.beyond.broker.in_flight import Topic


@caught_by("test_work_of_a_worker_that_is_gone_goes_to_another")
class LosesWorkWithItsWorker(acks.Broker):
    """What a worker had in flight is gone with it."""

    def requeue(self, topic, messages):
        pass


@caught_by("test_work_of_a_worker_that_is_gone_goes_to_another")
class HidesThatWorkComesAgain(acks.Broker):
    """Redelivered work looks new."""

    class topic_class(Topic):
        def enqueue(self, messages):
            super().enqueue(msgspec.structs.replace(each, redelivered=False) for each in messages)


@caught_by("test_work_that_nobody_can_take_waits_in_the_order_of_its_index")
class ReturnsWorkBehindAllOther(acks.Broker):
    """Work that came back has to wait behind what came later."""

    def replay(self, topic, client, after):
        super().replay(topic, client, after)
        if len(self.outgoing[-1][1]) > 1:
            clients, messages = self.outgoing.pop()
            self.outgoing.append(
                (clients, sorted(messages, key=lambda message: message.redelivered))
            )


@caught_by("test_what_was_acknowledged_does_not_come_again")
class ForgetsToForget(acks.Broker):
    """What was acknowledged comes again."""

    def ack(self, command, client):
        self.answer(client, command)


@caught_by("test_a_worker_gets_no_more_than_it_asked_for")
class IgnoresPrefetch(acks.Broker):
    """A worker is given everything at once."""

    def subscribe(self, command, client):
        super().subscribe(msgspec.structs.replace(command, prefetch=UNSET), client)


@caught_by("test_work_goes_to_who_has_room")
class GivesWorkToTheBusy(acks.Broker):
    """Any worker may be drawn, also one that has no room."""

    def send_to_one(self, topic, message):
        if topic.subscribers:
            self.deliver(topic, message, topic.subscribers.draw(self.random))
        else:
            super().send_to_one(topic, message)


@caught_by("test_only_what_one_holds_can_be_acknowledged")
class AcceptsAnyAck(acks.Broker):
    """Everything can be acknowledged."""

    def ack(self, command, client):
        if self.topic(command.topic).may_acknowledge(command.index, client):
            super().ack(command, client)
        else:
            self.answer(client, command)


@caught_by("test_who_does_not_acknowledge_can_take_over_the_work_of_one_who_does")
class WaitsForAcksOfEverybody(acks.Broker):
    """A subscriber without `ack` is expected to acknowledge, too."""

    def subscribe(self, command, client):
        super().subscribe(msgspec.structs.replace(command, ack=True), client)


@caught_by("test_work_that_came_back_is_not_pushed_out_of_the_cache")
class PushesReturnedWorkOut(acks.Broker):
    """Work that came back is dropped when newer messages fill the cache."""

    class topic_class(Topic):
        def trim(self, length):
            super().trim(length)
            while len(self.waiting) > length:
                self.dequeue(self.waiting.keys()[0])


@caught_by("test_who_unsubscribes_may_finish_its_work")
class TakesWorkBackAtOnce(acks.Broker):
    """A worker that unsubscribes loses what it has in flight."""

    def unsubscribe(self, command, client):
        super().unsubscribe(command, client)
        self.disconnect(client)


@caught_by("test_who_wants_no_cache_gets_the_work_that_waits_because_it_is_busy")
class LeavesAllThatWaitsToOthers(acks.Broker):
    """A worker that wants no cache gets nothing that had to wait, not even for itself."""

    def subscribe(self, command, client):
        super().subscribe(command, client)
        if not command.cache:
            self.topic(command.topic).workers[client].after = 10**9


@caught_by("test_who_has_seen_more_than_there_is_gets_all_that_is_sent")
class BelievesTheLastSeen(acks.Broker):
    """A worker gets nothing that waits up to its `last_seen`, though that is of another server."""

    def subscribe(self, command, client):
        super().subscribe(command, client)
        if command.last_seen is not UNSET:
            self.topic(command.topic).workers[client].after = command.last_seen


@caught_by("test_what_a_worker_holds_comes_back_also_if_it_was_not_to_be_cached")
class DropsWhatWasNotToBeCached(acks.Broker):
    """Work that was sent with `cache` false does not come back."""

    def requeue(self, topic, messages):
        super().requeue(topic, [message for message in messages if message.cache is not False])


class AnySubscribe(commands.Subscribe, tag="subscribe"):
    ack: bool = False
    prefetch: int | UnsetType = UNSET


@caught_by("test_ack_and_prefetch_are_checked")
class TakesAnyPrefetch(acks.Broker):
    """`prefetch` may be 0, or without `ack`."""

    commands = (AnySubscribe, commands.Unsubscribe, commands.Send, commands.Ack)


@caught_by("test_work_waits_however_much_there_is")
class KeepsTwoHundredJobs(acks.Broker):
    """Of the work that waits, the oldest is dropped in silence."""

    class topic_class(Topic):
        def enqueue(self, messages):
            super().enqueue(messages)
            while len(self.waiting) > 200:
                self.dequeue(self.waiting.keys()[0])
