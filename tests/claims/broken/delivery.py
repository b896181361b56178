"""Wrong servers, each caught by a claim of `test_delivery`."""

from broken import caught_by
from stages import disconnects, wire


@caught_by("test_one_delivery_reaches_exactly_one_subscriber")
class SendsOneToAll(disconnects.Server):
    """A message for one goes to all."""

    def recipients(self, command):
        return super().recipients({**command, "delivery": "all"})


@caught_by("test_one_delivery_reaches_exactly_one_subscriber")
class NeedsSomebody(disconnects.Server):
    """Fails if a message for one finds nobody there."""

    def recipients(self, command):
        everybody = super().recipients({**command, "delivery": "all"})
        if command.get("delivery") == "one":
            return [self.random.choice(list(everybody))]
        return everybody


@caught_by("test_one_delivery_is_drawn_uniformly")
class PrefersTheFirst(disconnects.Server):
    """A message for one always goes to the first subscriber."""

    def recipients(self, command):
        everybody = super().recipients({**command, "delivery": "all"})
        return list(everybody)[:1] if command.get("delivery") == "one" else everybody


@caught_by("test_one_delivery_is_drawn_uniformly")
class TakesTurns(disconnects.Server):
    """Messages for one go to the subscribers by turns, not by lot."""

    def recipients(self, command):
        subscribers = self.topics.get(command["topic"], {})
        if command.get("delivery") != "one" or not subscribers:
            return subscribers
        first = next(iter(subscribers))
        subscribers[first] = subscribers.pop(first)
        return [first]


@caught_by("test_all_delivery_is_the_default")
class SendsToOneByDefault(disconnects.Server):
    """Without `delivery`, a message goes to one."""

    def recipients(self, command):
        return super().recipients({"delivery": "one", **command})


@caught_by("test_any_other_delivery_is_rejected")
class GuessesTheDelivery(disconnects.Server):
    """An unknown `delivery` is taken for `all`."""

    def check(self, command):
        super().check({**command, "delivery": "all"})


@caught_by("test_a_field_of_another_command_is_not_looked_at")
class ChecksEveryDelivery(disconnects.Server):
    """A `subscribe` with a `delivery` that it does not know is refused."""

    def check(self, command):
        super().check(command)
        if command.get("delivery", "all") not in ("all", "one"):
            raise wire.FieldError(command, "delivery", "'all' or 'one'")
