"""Wrong servers, each caught by a claim of `test_last_seen`."""

from broken import caught_by
from stages import disconnects, wire


@caught_by("test_messages_are_numbered_from_0_in_each_topic_whatever_their_delivery")
class ForgetsTheIndex(disconnects.Server):
    """Messages carry no index."""

    def recipients(self, command):
        recipients = super().recipients(command)
        line = wire.encode({name: value for name, value in command.items() if name != "index"})
        for recipient in recipients:
            recipient.write(line)
        return []


@caught_by("test_messages_are_numbered_from_0_in_each_topic_whatever_their_delivery")
class NumbersAllTopicsAsOne(disconnects.Server):
    """All topics share one counter."""

    def send(self, command, client):
        self.indexes[command["topic"]] = max(self.indexes.values(), default=0)
        super().send(command, client)


@caught_by("test_the_index_is_the_servers_whatever_a_client_sends")
class TrustsTheClientsIndex(disconnects.Server):
    """An index that a client sends is kept."""

    def send(self, command, client):
        if "index" in command:
            self.indexes[command["topic"]] = command["index"]
        super().send(command, client)


@caught_by("test_a_subscriber_gets_only_what_came_after_last_seen")
class RepeatsTheLastSeen(disconnects.Server):
    """The message that was seen last is sent again."""

    def unseen(self, command):
        return super().unseen({**command, "last_seen": int(command.get("last_seen", -1)) - 1})


@caught_by("test_a_bad_last_seen_is_rejected_and_subscribes_nobody")
class AcceptsAnyLastSeen(disconnects.Server):
    """A `last_seen` that is no number is taken for none."""

    def check(self, command):
        if command.get("command") == "subscribe" and not isinstance(
            command.get("last_seen"), int | str
        ):
            command.pop("last_seen", None)
        super().check(command)


@caught_by("test_a_one_message_that_was_seen_already_waits_on_for_somebody_else")
class DropsWhatWasSeen(disconnects.Server):
    """A `one` message that was seen already is removed, though it was not sent."""

    def replay(self, command, client):
        super().replay(command, client)
        for message in list(self.caches.get(command["topic"], ())):
            if message.get("delivery") == "one":
                self.caches[command["topic"]].remove(message)


@caught_by("test_a_rejected_message_uses_up_no_index")
class CountsRejectedMessages(disconnects.Server):
    """A rejected message uses up an index."""

    def check(self, command):
        try:
            super().check(command)
        except ValueError:
            topic = command.get("topic")
            self.indexes[topic] = self.indexes.get(topic, 0) + 1
            raise


@caught_by("test_a_message_keeps_its_index_in_the_cache")
class NumbersTheCacheAnew(disconnects.Server):
    """In a replay, messages are numbered from 0."""

    def unseen(self, command):
        return [
            {**message, "index": number} for number, message in enumerate(super().unseen(command))
        ]


@caught_by("test_a_subscriber_that_has_seen_nothing_gets_all")
class ForgetsTheSign(disconnects.Server):
    """-1 is taken for 1."""

    def unseen(self, command):
        return super().unseen({**command, "last_seen": abs(int(command.get("last_seen", 0)))})


@caught_by("test_last_seen_may_be_a_text")
class WantsANumber(disconnects.Server):
    """'1' is not taken for 1."""

    def check(self, command):
        super().check(command)
        if isinstance(command.get("last_seen"), str):
            raise wire.FieldError(command, "last_seen", "a number")


@caught_by("test_an_odd_number_is_no_last_seen")
class TakesAnyDigits(disconnects.Server):
    """Whatever int() takes is an index."""

    def check(self, command):
        if isinstance(command.get("last_seen"), str):
            try:
                command["last_seen"] = int(command["last_seen"])
            except ValueError:
                raise wire.FieldError(command, "last_seen", "an index") from None
        super().check(command)


@caught_by("test_a_message_may_have_a_last_seen_of_any_kind")
class ChecksEveryLastSeen(disconnects.Server):
    """A message with a field `last_seen` that is no index is refused."""

    def check(self, command):
        super().check(command)
        if not str(command.get("last_seen", -1)).lstrip("-").isdigit():
            raise wire.FieldError(command, "last_seen", "an index")


@caught_by("test_a_last_seen_beyond_the_newest_message_hides_nothing_that_is_sent_later")
class FiltersWhatIsNew(disconnects.Server):
    """A subscriber is sent nothing up to its `last_seen`, also of what is new."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.seen = {}

    def subscribe(self, command, client):
        self.seen[client] = int(command.get("last_seen", -1))
        super().subscribe(command, client)

    def deliver(self, message, recipients):
        super().deliver(message, [r for r in recipients if message["index"] > self.seen[r]])
