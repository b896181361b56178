"""Wrong servers and brokers, each caught by a claim of `test_replies`."""

import msgspec
from msgspec import UNSET

from broken import caught_by
from stages.beyond import broker, replies
from stages.beyond.broker import commands
from stages.beyond.broker.topic import Topic


@caught_by("test_every_command_is_answered")
class EndsItsLinesWithLf(replies.Server):
    """Lines end in LF alone."""

    def send(self, outgoing):
        for clients, what in outgoing:
            for client in clients:
                self.connections[client].write(
                    b"".join(map(commands.encode, what)).replace(b"\r", b"")
                )


@caught_by("test_a_subscriber_is_answered_first_and_then_caught_up")
class ReplaysBeforeAnswering(broker.Broker):
    """The cached messages come before the answer."""

    def replay(self, topic, client, after):
        answer = self.outgoing.pop()
        super().replay(topic, client, after)
        self.outgoing.append(answer)


@caught_by("test_a_sender_is_answered_after_its_message_was_delivered")
class AnswersBeforeDelivering(broker.Broker):
    """A sender is answered before its message goes out."""

    def send(self, command, client):
        place = len(self.outgoing)
        super().send(command, client)
        self.outgoing.insert(place, self.outgoing.pop())


@caught_by("test_a_message_is_the_senders_object_and_its_index")
class PassesTheIdOn(broker.Broker):
    """The sender's `id` is delivered to everybody."""

    def tell(self, clients, *what):
        with_id = [
            each if isinstance(each, dict) else msgspec.to_builtins(each) | {"id": 7}
            for each in what
        ]
        super().tell(clients, *with_id)


@caught_by("test_a_line_that_is_no_text_or_no_json_is_answered_like_any_other_bad_one")
class TakesAnyBytes(broker.Broker):
    """Bytes that are no UTF-8 are replaced by question marks."""

    def handle(self, client, line):
        super().handle(client, line.decode(errors="replace").encode())


class AnySubscribe(commands.Subscribe, tag="subscribe", forbid_unknown_fields=False):
    pass


@caught_by("test_a_bad_line_is_answered_with_the_reason_and_the_connection_goes_on")
class TakesAnyKey(broker.Broker):
    """Fields that no command has are ignored."""

    commands = (AnySubscribe, commands.Unsubscribe, commands.Send)


@caught_by("test_lines_of_64_kib_and_up_to_1_mib_are_accepted")
class HasALimitOf60Kb(broker.Broker):
    """Lines may have 60,000 bytes, and no more."""

    def handle(self, client, line):
        if len(line) > 60_000:
            self.refuse(client, UNSET, commands.NOT_JSON)
        else:
            super().handle(client, line)


@caught_by("test_an_id_is_repeated_in_the_answer")
class ForgetsTheId(broker.Broker):
    """The answer does not repeat the `id`."""

    def answer(self, client, command, **fields):
        super().answer(client, msgspec.structs.replace(command, id=UNSET), **fields)


@caught_by("test_unsubscribing_ends_a_subscription")
class ForgetsToUnsubscribe(broker.Broker):
    """`unsubscribe` is answered, and that is all."""

    def unsubscribe(self, command, client):
        self.answer(client, command)


@caught_by("test_unsubscribing_from_what_is_not_subscribed_succeeds")
class RefusesToUnsubscribeTwice(broker.Broker):
    """Only what is subscribed can be unsubscribed."""

    def unsubscribe(self, command, client):
        if command.topic in self.topics_of.get(client, {}):
            super().unsubscribe(command, client)
        else:
            self.refuse(client, command.id, "Not subscribed")


@caught_by("test_who_wants_no_cache_gets_only_what_is_sent_from_now_on")
class ReplaysToEverybody(broker.Broker):
    """`cache` false on a `subscribe` is ignored."""

    def subscribe(self, command, client):
        super().subscribe(msgspec.structs.replace(command, cache=True), client)


@caught_by("test_what_is_not_to_be_cached_reaches_only_who_is_there")
class CachesWhatItShouldNot(broker.Broker):
    """A message with `cache` false is cached all the same."""

    def send_to_all(self, topic, message):
        super().send_to_all(topic, message)
        if message.cache is False:
            topic.cache.append(message)


@caught_by("test_a_subscriber_is_told_how_many_messages_it_has_missed")
class CountsAllThatWasEvicted(broker.Broker):
    """Also what the subscriber has seen counts as missed."""

    class topic_class(Topic):
        def missed_since(self, last_seen):
            return self.evicted


@caught_by("test_a_message_that_somebody_else_was_given_is_not_missed")
class CountsWhatWasHandedOutAsMissed(broker.Broker):
    """Every index that is not in the cache counts as missed."""

    class topic_class(Topic):
        def missed_since(self, last_seen):
            return max(0, self.next_index - 1 - last_seen - len(self.cache))
