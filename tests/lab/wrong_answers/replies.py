"""Wrong answers to the exercises of lesson 6."""

from typing import Any

import msgspec

from stages.beyond.broker import Broker, commands
from wrong_answers import wrong_answer_to


class Subscribers(commands.Command, tag="subscribers"):
    pass


class Counting(Broker):
    commands = (*Broker.commands, Subscribers)

    def subscribers(self, command, client):
        self.answer(client, command, subscribers=self.number(command.topic))


@wrong_answer_to("subscribers", "those of this topic, whatever others have")
class OfTheFullestTopic(Counting):
    def number(self, topic):
        return max((len(each.subscribers) for each in self.topics.values()), default=0)


@wrong_answer_to("subscribers", "those of this topic, whatever others have")
class OfAllTopics(Counting):
    def number(self, topic):
        return sum(len(each.subscribers) for each in self.topics.values())


@wrong_answer_to("subscribers", "clients that unsubscribe are not")
class OnlyEverMore(Counting):
    def __init__(self, rules):
        super().__init__(rules)
        self.ever = {}

    def subscribe(self, command, client):
        super().subscribe(command, client)
        self.ever.setdefault(command.topic, set()).add(client)

    def number(self, topic):
        return len(self.ever.get(topic, ()))


@wrong_answer_to("subscribers", "each once")
class CountsSubscriptions(Counting):
    def __init__(self, rules):
        super().__init__(rules)
        self.counts = {}

    def subscribe(self, command, client):
        super().subscribe(command, client)
        self.counts[command.topic] = self.counts.get(command.topic, 0) + 1

    def number(self, topic):
        return self.counts.get(topic, 0)


class AnyTopic(commands.Command, tag="subscribers"):
    topic: Any


@wrong_answer_to("subscribers", "a wrong topic is malformed")
class TakesAnyTopic(Counting):
    commands = (*Broker.commands, AnyTopic)

    def number(self, topic):
        return len(self.topic(topic).subscribers)


class SendAny(commands.Send, tag="send"):
    headers: Any = {}


class SendNull(commands.Send, tag="send"):
    headers: dict[str, str] | None = {}


class Send(commands.Send, tag="send"):
    headers: dict[str, str] = {}


class Message(commands.Message, tag="send", frozen=True):
    headers: Any = {}


class WithHeaders(Broker):
    commands = (commands.Subscribe, commands.Unsubscribe, Send)

    def numbered(self, topic, command):
        fields = msgspec.structs.asdict(super().numbered(topic, command))
        return Message(**fields, headers=command.headers)


@wrong_answer_to("headers", "headers of {'trace': 7} are malformed")
class TakesAnything(WithHeaders):
    commands = (commands.Subscribe, commands.Unsubscribe, SendAny)


@wrong_answer_to("headers", "headers of None are malformed")
class TakesNull(WithHeaders):
    commands = (commands.Subscribe, commands.Unsubscribe, SendNull)


@wrong_answer_to("headers", "late subscribers get them, too")
class ForgetsThem(WithHeaders):
    def send_to_all(self, topic, message):
        super().send_to_all(topic, message)
        last = topic.cache.pop()
        topic.cache.append(msgspec.structs.replace(last, headers={}))


@wrong_answer_to("headers", "and delivered")
class DropsThem(WithHeaders):
    def numbered(self, topic, command):
        return Broker.numbered(self, topic, command)


class SendWithMust(commands.Send, tag="send", kw_only=True):
    headers: dict[str, str]


@wrong_answer_to("headers", "a message needs none")
class DemandsThem(WithHeaders):
    commands = (commands.Subscribe, commands.Unsubscribe, SendWithMust)
