"""Wrong answers to the exercises of lesson 3."""

import time

from stages import basic, caching
from wrong_answers import wrong_answer_to


@wrong_answer_to("uncached", "a `one` message that is not kept still reaches one")
class ToEverybody(caching.Server):
    def send(self, command, client):
        if command.get("cache") is False:
            self.deliver(command, self.topics.get(command["topic"], {}))
        else:
            super().send(command, client)


@wrong_answer_to("uncached", "and pushes nothing out of the cache")
class KeptAndHidden(caching.Server):
    def unseen(self, command):
        return [each for each in super().unseen(command) if each.get("cache") is not False]


@wrong_answer_to("uncached", "'cache': True changes nothing")
class LooksForTheFieldOnly(caching.Server):
    def keep(self, message):
        if "cache" not in message:
            super().keep(message)


@wrong_answer_to("uncached", "both are delivered to those that are there")
class NotDelivered(caching.Server):
    def send(self, command, client):
        if command.get("cache") is not False:
            super().send(command, client)


@wrong_answer_to("uncached", "a `one` message does not wait, either")
class OnlyMessagesForAll(caching.Server):
    def keep(self, message):
        if message.get("cache") is not False or message.get("delivery") == "one":
            super().keep(message)


class WithClock(caching.Server):
    clock = staticmethod(time.monotonic)


class Dated(dict):
    """A message that knows when it came."""


class Remembering(WithClock):
    def keep(self, message):
        dated = Dated(message)
        dated.time = self.clock()
        super().keep(dated)


@wrong_answer_to("by_age", "61 seconds old is too old, 60 is not")
class SixtyIsTooOld(Remembering):
    def unseen(self, command):
        return [each for each in super().unseen(command) if self.clock() - each.time < 60]


@wrong_answer_to("by_age", "61 seconds old is too old, 60 is not")
class SeventySeconds(Remembering):
    def unseen(self, command):
        return [each for each in super().unseen(command) if self.clock() - each.time <= 70]


@wrong_answer_to("by_age", "what is delivered is what was sent")
class ShowsItsClock(WithClock):
    def send(self, command, client):
        command["time"] = self.clock()
        super().send(command, client)

    def unseen(self, command):
        return [each for each in super().unseen(command) if self.clock() - each["time"] <= 60]


@wrong_answer_to("by_age", "and so is what is replayed")
class ShowsItsClockLater(WithClock):
    def keep(self, message):
        super().keep({**message, "kept": self.clock()})

    def unseen(self, command):
        return [each for each in super().unseen(command) if self.clock() - each["kept"] <= 60]


@wrong_answer_to("by_age", "61 seconds old is too old, 60 is not")
class AsksAnotherClock(WithClock):
    def keep(self, message):
        dated = Dated(message)
        dated.time = time.monotonic()
        super().keep(dated)

    def unseen(self, command):
        return [each for each in super().unseen(command) if time.monotonic() - each.time <= 60]


@wrong_answer_to("by_age", "61 seconds old is too old, 60 is not")
class KeepsNothing(basic.Server):
    clock = staticmethod(time.monotonic)


@wrong_answer_to("uncached", "the next one is kept again")
class RemembersTheTopic(caching.Server):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.kept = {}

    def keep(self, message):
        if self.kept.setdefault(message["topic"], message.get("cache") is not False):
            super().keep(message)


@wrong_answer_to("uncached", "with all their fields")
class TakesTheFieldAway(caching.Server):
    def send(self, command, client):
        if command.pop("cache", True):
            super().send(command, client)
        else:
            self.deliver(command, self.recipients(command))


@wrong_answer_to("by_age", "the same text is not the same message")
class KnowsMessagesByTheirText(WithClock):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.times = {}

    def keep(self, message):
        self.times[str(message)] = self.clock()
        super().keep(message)

    def unseen(self, command):
        now = self.clock()
        return [each for each in super().unseen(command) if now - self.times[str(each)] <= 60]
