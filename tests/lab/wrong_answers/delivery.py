"""Wrong answers to the exercises of lesson 2."""

import itertools

from stages import delivery
from wrong_answers import wrong_answer_to


@wrong_answer_to("no_echo", "it hears what others send")
class UnsubscribesTheSender(delivery.Server):
    def send(self, command, client):
        self.topics.get(command["topic"], {}).pop(client, None)
        super().send(command, client)


@wrong_answer_to("no_echo", "it hears what others send")
class NothingForSenders(delivery.Server):
    ever = ()

    def send(self, command, client):
        self.ever = (*self.ever, client)
        super().send(command, client)

    def recipients(self, command):
        return [client for client in super().recipients(command) if client not in self.ever]


@wrong_answer_to("no_echo", "and these do not hear themselves")
class KnowsTheFirstSender(delivery.Server):
    sender = None

    def send(self, command, client):
        self.sender = self.sender or client
        subscribers = self.topics.get(command["topic"], {})
        subscribed = self.sender in subscribers
        subscribers.pop(self.sender, None)
        super().send(command, client)
        if subscribed:
            subscribers[self.sender] = None


@wrong_answer_to("no_echo", "to send is not to subscribe")
class SubscribesTheSender(delivery.Server):
    def send(self, command, client):
        subscribers = self.topics.setdefault(command["topic"], {})
        subscribers.pop(client, None)
        super().send(command, client)
        subscribers[client] = None


@wrong_answer_to("no_echo", "a `one` message is never drawn for its sender")
class DrawsFirst(delivery.Server):
    def send(self, command, client):
        others = [each for each in self.recipients(command) if each is not client]
        self.deliver(command, others)


@wrong_answer_to("by_turns", "it runs to the end")
class OneCounterForAllTopics(delivery.Server):
    turn = 0

    def recipients(self, command):
        takers = list(self.topics.get(command["topic"], ()))
        if command.get("delivery") != "one":
            return takers
        self.turn += 1
        return [takers[self.turn % len(takers)]]


@wrong_answer_to("by_turns", "whatever other topics do")
class MixesTopics(delivery.Server):
    turn = 0

    def recipients(self, command):
        takers = list(self.topics.get(command["topic"], ()))
        if command.get("delivery") != "one" or not takers:
            return takers
        self.turn += 1
        return [takers[self.turn % len(takers)]]


@wrong_answer_to("by_turns", "whatever is sent to all")
class CountsAllMessages(delivery.Server):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.turns = {}

    def recipients(self, command):
        takers = list(self.topics.get(command["topic"], ()))
        if not takers:
            return takers
        turn = self.turns[command["topic"]] = self.turns.get(command["topic"], 0) + 1
        return [takers[turn % len(takers)]] if command.get("delivery") == "one" else takers


@wrong_answer_to("by_turns", "also with one that comes later")
class NothingForNewcomers(delivery.Server):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.cycles = {}

    def recipients(self, command):
        takers = self.topics.get(command["topic"], {})
        if command.get("delivery") != "one" or not takers:
            return takers
        cycle = self.cycles.setdefault(command["topic"], itertools.cycle(list(takers)))
        return [next(cycle)]


@wrong_answer_to("by_turns", "each worker gets as many")
class AlwaysTheFirst(delivery.Server):
    def recipients(self, command):
        takers = list(self.topics.get(command["topic"], ()))
        return takers[:1] if command.get("delivery") == "one" else takers


@wrong_answer_to("no_echo", "it runs to the end")
class NeedsAnother(delivery.Server):
    def send(self, command, client):
        others = [each for each in self.topics.get(command["topic"], {}) if each is not client]
        one = command.get("delivery") == "one"
        self.deliver(command, [self.random.choice(others)] if one else others)


@wrong_answer_to("by_turns", "also with one that comes later")
class TwiceForSubscribingTwice(delivery.Server):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.turns = {}

    def subscribe(self, command, client):
        super().subscribe(command, client)
        self.turns.setdefault(command["topic"], []).append(client)

    def recipients(self, command):
        turns = self.turns.get(command["topic"], [])
        if command.get("delivery") != "one" or not turns:
            return super().recipients({**command, "delivery": "all"})
        turns.append(turns.pop(0))
        return turns[-1:]
