"""Wrong answers to the exercises of lesson 1."""

from stages import basic
from wrong_answers import wrong_answer_to


class Unsubscribing(basic.Server):
    commands = (*basic.Server.commands, "unsubscribe")


@wrong_answer_to("unsubscribe", "its other topics go on")
class LeavesAllTopics(Unsubscribing):
    def unsubscribe(self, command, client):
        for subscribers in self.topics.values():
            subscribers.pop(client, None)


@wrong_answer_to("unsubscribe", "a client that subscribes again hears again")
class NeverAgain(Unsubscribing):
    gone = frozenset()

    def unsubscribe(self, command, client):
        self.gone = self.gone | {(command["topic"], client)}

    def recipients(self, command):
        every = super().recipients(command)
        return [client for client in every if (command["topic"], client) not in self.gone]


@wrong_answer_to("unsubscribe", "its other topics go on")
class DeafEverywhere(Unsubscribing):
    gone = frozenset()

    def unsubscribe(self, command, client):
        self.gone = self.gone | {client}

    def recipients(self, command):
        return [client for client in super().recipients(command) if client not in self.gone]


@wrong_answer_to("unsubscribe", "it runs to the end")
class FailsTheSecondTime(Unsubscribing):
    def unsubscribe(self, command, client):
        del self.topics[command["topic"]][client]


@wrong_answer_to("unsubscribe", "the others go on hearing")
class UnsubscribesEverybody(Unsubscribing):
    def unsubscribe(self, command, client):
        self.topics.pop(command["topic"], None)


@wrong_answer_to("wildcard", "a subscriber of * hears every topic")
class OnlyTopicsWithSubscribers(basic.Server):
    def recipients(self, command):
        own = super().recipients(command)
        return {**own, **self.topics.get("*", {})} if own else own


@wrong_answer_to("wildcard", "a subscriber of both hears each message once")
class TwiceForBoth(basic.Server):
    def recipients(self, command):
        return [*super().recipients(command), *self.topics.get("*", {})]


@wrong_answer_to("wildcard", "the others hear only their own")
class EverythingForEverybody(basic.Server):
    def recipients(self, command):
        return {client: None for clients in self.topics.values() for client in clients}


@wrong_answer_to("wildcard", "there may be many of them")
class OnlyTheFirst(basic.Server):
    def recipients(self, command):
        return {**super().recipients(command), **dict.fromkeys(list(self.topics.get("*", {}))[:1])}


@wrong_answer_to("unsubscribe", "and it is still not subscribed")
class Toggles(Unsubscribing):
    def unsubscribe(self, command, client):
        subscribers = self.topics.setdefault(command["topic"], {})
        if client in subscribers:
            del subscribers[client]
        else:
            subscribers[client] = None


@wrong_answer_to("wildcard", "'*' is special alone, and only to subscribe")
class AnyStar(basic.Server):
    def recipients(self, command):
        topic = command["topic"]
        if topic == "*":
            return {client: None for clients in self.topics.values() for client in clients}
        stars = {c: None for name, subs in self.topics.items() if "*" in name for c in subs}
        return {**super().recipients(command), **stars}
