"""Wrong answers to the exercises of lesson 4."""

import uuid

from stages import last_seen, wire
from wrong_answers import wrong_answer_to


class WithPosition(last_seen.Server):
    commands = (*last_seen.Server.commands, "position")

    def position(self, command, client):
        topic = command["topic"]
        self.tell(client, {"topic": topic, "next": self.next_index(topic)})

    def tell(self, client, answer):
        client.write(wire.encode(answer))


@wrong_answer_to("position", "every message counts, whatever its delivery")
class CountsTheCache(WithPosition):
    def next_index(self, topic):
        return len(self.caches.get(topic, ()))


@wrong_answer_to("position", "every message counts, whatever its delivery")
class LooksAtTheLastCached(WithPosition):
    def next_index(self, topic):
        cache = self.caches.get(topic, ())
        return cache[-1]["index"] + 1 if cache else 0


@wrong_answer_to("position", "other topics have their own")
class AddsAllTopics(WithPosition):
    def next_index(self, topic):
        return sum(self.indexes.values())


@wrong_answer_to("position", "a new topic starts at 0")
class WantsAKnownTopic(WithPosition):
    def next_index(self, topic):
        return self.indexes.get(topic, -1)


@wrong_answer_to("position", "only the client that asks is answered")
class TellsEverybody(WithPosition):
    def next_index(self, topic):
        return self.indexes.get(topic, 0)

    def tell(self, client, answer):
        for each in {client, *self.topics.get(answer["topic"], ())}:
            super().tell(each, answer)


@wrong_answer_to("position", "asking uses up no index")
class UsesUpAnIndex(WithPosition):
    def next_index(self, topic):
        asked = self.indexes.setdefault(topic, 0)
        if asked:
            self.indexes[topic] += 1
        return asked


class WithEpoch(last_seen.Server):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.epoch = uuid.uuid4().hex

    def send(self, command, client):
        super().send({**command, "epoch": self.epoch}, client)

    def unseen(self, command):
        if command.get("epoch", self.epoch) != self.epoch:
            command = {**command, "last_seen": -1}
        return super().unseen(command)


@wrong_answer_to("epoch", "a small last_seen of another epoch does not")
class GuessesByTheNumber(WithEpoch):
    def unseen(self, command):
        if int(command.get("last_seen", -1)) >= self.indexes.get(command["topic"], 0):
            command = {**command, "last_seen": -1}
        return last_seen.Server.unseen(self, command)


@wrong_answer_to("epoch", "another server has another epoch")
class AlwaysTheSame(WithEpoch):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.epoch = "always the same"


@wrong_answer_to("epoch", "all messages carry the same epoch, the server's")
class TheClientsWins(WithEpoch):
    def send(self, command, client):
        command.setdefault("epoch", self.epoch)
        last_seen.Server.send(self, command, client)


@wrong_answer_to("epoch", "a `one` message has it as well")
class OnlyForAll(WithEpoch):
    def send(self, command, client):
        if command.get("delivery") == "one":
            last_seen.Server.send(self, command, client)
        else:
            super().send(command, client)


@wrong_answer_to("epoch", "without an epoch, last_seen is believed")
class WantsAnEpoch(WithEpoch):
    def unseen(self, command):
        return super().unseen({"epoch": "none", **command})


@wrong_answer_to("epoch", "a last_seen of this epoch counts")
class ForgetsAllLastSeen(WithEpoch):
    def unseen(self, command):
        return super().unseen({**command, "last_seen": -1})


@wrong_answer_to("epoch", "a live message as well")
class OnlyInReplays(WithEpoch):
    def send(self, command, client):
        last_seen.Server.send(self, command, client)

    def unseen(self, command):
        messages = super().unseen(command)
        for each in messages:
            each["epoch"] = self.epoch
        return messages
