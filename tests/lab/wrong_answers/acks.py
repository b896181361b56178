"""Wrong answers to the exercises of lesson 8."""

from collections import Counter

from stages.beyond import acks
from stages.beyond.broker.commands import Command
from wrong_answers import wrong_answer_to


class Nack(Command, tag="nack"):
    index: int


class WithNack(acks.Broker):
    commands = (*acks.Broker.commands, Nack)

    def nack(self, command, client):
        topic, index = self.topic(command.topic), command.index
        if not self.holds(topic, index, client):
            return self.refuse(client, command.id, "Nothing to give back")
        self.give_back(topic, index, client)
        self.answer(client, command)
        self.dispatch()

    def holds(self, topic, index, client):
        return index in topic.in_flight and topic.in_flight[index].client == client

    def give_back(self, topic, index, client):
        message = topic.in_flight[index].message
        topic.expired.setdefault(index, {})[client] = None
        topic.release(index)
        self.requeue(topic, [message])


@wrong_answer_to("nack", "somebody else gets it, redelivered")
class OfAnyTopic(WithNack):
    def nack(self, command, client):
        for topic in map(self.topic, list(self.topics)):
            if self.holds(topic, command.index, client):
                self.give_back(topic, command.index, client)
                self.answer(client, command)
                return self.dispatch()
        self.refuse(client, command.id, "Nothing to give back")


@wrong_answer_to("nack", "what is not with you cannot be given back")
class AnybodysWork(WithNack):
    def holds(self, topic, index, client):
        return index in topic.in_flight


@wrong_answer_to("nack", "somebody else gets it, redelivered")
class LosesIt(WithNack):
    def give_back(self, topic, index, client):
        topic.release(index)


@wrong_answer_to("nack", "you do not")
class BackToTheSameWorker(WithNack):
    def give_back(self, topic, index, client):
        message = topic.in_flight[index].message
        self.tell((client,), message)
        super().give_back(topic, index, client)


@wrong_answer_to("nack", "somebody else gets it, redelivered")
class LooksNew(WithNack):
    def give_back(self, topic, index, client):
        message = topic.in_flight[index].message
        topic.expired.setdefault(index, {})[client] = None
        topic.release(index)
        topic.enqueue([message])
        self.dispatcher.later(topic, index)


@wrong_answer_to("nack", "it never comes back to the worker that gave it back, if there is another")
class PerhapsToTheSame(WithNack):
    def give_back(self, topic, index, client):
        message = topic.in_flight[index].message
        topic.release(index)
        self.requeue(topic, [message])


class WithoutPoison(acks.Broker):
    def __init__(self, rules):
        super().__init__(rules)
        self.returns = Counter()

    def requeue(self, topic, messages):
        self.returns.update(self.name(topic, message) for message in messages)
        good = [each for each in messages if self.returns[self.name(topic, each)] < 3]
        super().requeue(topic, good)

    def name(self, topic, message):
        return topic.name, message.index


@wrong_answer_to("poison", "messages of other topics are not counted with it")
class CountsByIndex(WithoutPoison):
    def name(self, topic, message):
        return message.index


@wrong_answer_to("poison", "three workers get it, the fourth gets the next job")
class TwiceIsEnough(WithoutPoison):
    def requeue(self, topic, messages):
        self.returns.update(self.name(topic, message) for message in messages)
        super().requeue(topic, messages)

    def send(self, command, client):
        super().send(command, client)
        topic = self.topic(command.topic)
        self.returns.update(self.name(topic, message) for message in topic.waiting.values())


@wrong_answer_to("poison", "to expire is to come back, too")
class CountsDeathsOnly(acks.Broker):
    def __init__(self, rules):
        super().__init__(rules)
        self.returns = Counter()

    def disconnect(self, client):
        for name in self.topics_of.get(client, ()):
            topic = self.topic(name)
            for index in list(topic.workers[client].in_flight) if client in topic.workers else ():
                self.returns[name, index] += 1
                if self.returns[name, index] == 3:
                    topic.release(index)
        super().disconnect(client)


@wrong_answer_to("poison", "messages of other topics are not counted with it")
class CountsByText(WithoutPoison):
    def name(self, topic, message):
        return message.msg
