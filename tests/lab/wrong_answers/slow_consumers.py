"""Wrong answers to the exercises of lesson 7."""

from stages.beyond import slow_consumers
from stages.beyond.broker import Broker
from stages.beyond.server.outbox import Outbox
from wrong_answers import wrong_answer_to


class AtMostThree(Broker):
    def subscribe(self, command, client):
        if self.may_subscribe(command.topic, client):
            super().subscribe(command, client)
        else:
            self.refuse(client, command.id, "Too many topics")


@wrong_answer_to("at_most_three", "everybody has three, whatever others have")
class ThreeForTheServer(AtMostThree):
    def may_subscribe(self, topic, client):
        return topic in self.topics or len(self.topics) < 3


@wrong_answer_to("at_most_three", "and changes nothing: the three are still hers")
class CountsTheRefused(AtMostThree):
    def __init__(self, rules):
        super().__init__(rules)
        self.wanted = {}

    def may_subscribe(self, topic, client):
        wanted = self.wanted.setdefault(client, set())
        wanted.add(topic)
        return len(wanted) <= 3


@wrong_answer_to("at_most_three", "three topics are accepted, each as often as you like")
class CountsCommands(AtMostThree):
    def __init__(self, rules):
        super().__init__(rules)
        self.counts = {}

    def may_subscribe(self, topic, client):
        self.counts[client] = self.counts.get(client, 0) + 1
        return self.counts[client] <= 3


@wrong_answer_to("at_most_three", "after unsubscribing there is room again")
class NeverForgets(AtMostThree):
    def __init__(self, rules):
        super().__init__(rules)
        self.had = {}

    def may_subscribe(self, topic, client):
        had = self.had.setdefault(client, set())
        if len(had) == 3 and topic not in had:
            return False
        had.add(topic)
        return True


@wrong_answer_to("at_most_three", "what is sent there is not delivered")
class RefusesAndSubscribes(AtMostThree):
    def may_subscribe(self, topic, client):
        topics = self.topics_of.setdefault(client, {})
        if topic in topics or len(topics) < 3:
            return True
        self.topic(topic).subscribers.add(client)
        return False


@wrong_answer_to("newest", "a sender gets through, whoever does not read")
class LetsSendersWait(slow_consumers.Server):
    async def wait_for(self, client, outbox, lines):
        await outbox.wait_until_empty()


@wrong_answer_to("newest", "once it reads on, it gets the newest message")
class DisconnectsAtOnce(slow_consumers.Server):
    async def wait_for(self, client, outbox, lines):
        await self.disconnect_slow(client, outbox)


@wrong_answer_to("newest", "for a reader that does not, not everything is kept")
class KeepsEverything(slow_consumers.Server):
    async def wait_for(self, client, outbox, lines):
        pass


class WithOutbox(slow_consumers.Server):
    def connected(self, client, connection):
        super().connected(client, connection)
        self.outboxes[client] = self.outbox_class(connection, self.high_water)

    async def wait_for(self, client, outbox, lines):
        pass


class KeepsTheOldest(Outbox):
    def put(self, lines):
        super().put(lines)
        while len(self.pending) > 1:
            self.pending.pop()


@wrong_answer_to("newest", "once it reads on, it gets the newest message")
class DropsTheNewest(WithOutbox):
    outbox_class = KeepsTheOldest


class TurnsRound(Outbox):
    def put(self, lines):
        super().put(lines)
        self.pending.rotate(1)
        while len(self.pending) > 2:
            self.pending.pop()


@wrong_answer_to("newest", "and nothing out of order")
class TheNewestFirst(WithOutbox):
    outbox_class = TurnsRound


@wrong_answer_to("at_most_three", "to leave a topic that is not hers makes no room")
class CountsDown(AtMostThree):
    def __init__(self, rules):
        super().__init__(rules)
        self.counts = {}

    def may_subscribe(self, topic, client):
        if topic in self.topics_of.get(client, {}):
            return True
        self.counts[client] = self.counts.get(client, 0)
        if self.counts[client] == 3:
            return False
        self.counts[client] += 1
        return True

    def unsubscribe(self, command, client):
        super().unsubscribe(command, client)
        self.counts[client] = self.counts.get(client, 0) - 1
