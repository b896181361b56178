"""Wrong answers to the exercises of lesson 9."""

from stages.beyond import acks
from stages.beyond.broker import commands
from stages.beyond.broker.commands import Command, Message, Send
from wrong_answers import wrong_answer_to


class Purge(Command, tag="purge"):
    pass


class WithPurge(acks.Broker):
    commands = (*acks.Broker.commands, Purge)

    def purge(self, command, client):
        topic = self.topic(command.topic)
        topic.cache.clear()
        topic.waiting.clear()
        topic.waiting_size = 0
        self.also(topic)
        self.answer(client, command)

    def also(self, topic):
        pass


@wrong_answer_to("purge", "what a worker holds does not wait: it can still be acknowledged")
class PurgesWorkersToo(WithPurge):
    def also(self, topic):
        for index in list(topic.in_flight):
            topic.release(index)


@wrong_answer_to("purge", "the indexes go on")
class StartsTheIndexesAgain(WithPurge):
    def also(self, topic):
        topic.next_index = 0


@wrong_answer_to("purge", "and the worker stays subscribed")
class UnsubscribesEverybody(WithPurge):
    def also(self, topic):
        for client in list(topic.subscribers.clients):
            self.leave(topic, client)


@wrong_answer_to("purge", "other topics keep what they have")
class PurgesEveryTopic(WithPurge):
    def also(self, topic):
        for other in map(self.topic, list(self.topics)):
            other.cache.clear()


@wrong_answer_to("purge", "nothing of it is left, also of work that came back")
class PurgesTheCacheOnly(WithPurge):
    def purge(self, command, client):
        self.topic(command.topic).cache.clear()
        self.answer(client, command)


@wrong_answer_to("purge", "what was purged takes no room any more")
class StillCountsIt(WithPurge):
    def purge(self, command, client):
        topic = self.topic(command.topic)
        topic.cache.clear()
        topic.waiting.clear()
        self.answer(client, command)


class SendWithKey(Send, tag="send"):
    key: str = ""


class SendWithAnyKey(Send, tag="send"):
    key: str | int | None = None


class PayOnce(acks.Broker):
    commands = (commands.SubscribeToWork, commands.Unsubscribe, SendWithKey, commands.Ack)

    def send(self, command, client):
        keys = self.topic(f"keys of {self.scope(command)}")
        key = self.key(command)
        if key and key in self.known(keys):
            return self.answer(client, command)
        before = self.topic(command.topic).next_index
        super().send(command, client)
        if key and self.counts(self.topic(command.topic).next_index > before):
            keys.cache.append(
                Message(topic=keys.name, msg=key, delivery="all", index=keys.next_index)
            )
            keys.next_index += 1

    def counts(self, sent):
        return sent

    def scope(self, command):
        return command.topic

    def key(self, command):
        return command.key

    def known(self, keys):
        return [message.msg for message in keys.cache]


@wrong_answer_to("once", "no key is no key")
class NoKeyIsAKey(PayOnce):
    def key(self, command):
        return command.key or "none"


@wrong_answer_to("once", "also with another in between, or another text, the first counts")
class LooksAtTheLastOnly(PayOnce):
    def known(self, keys):
        return [message.msg for message in keys.cache][-1:]


@wrong_answer_to("once", "another topic has its own keys")
class OneListForAllTopics(PayOnce):
    def scope(self, command):
        return "all"


@wrong_answer_to("once", "also with another in between, or another text, the first counts")
class ComparesTheTextAsWell(PayOnce):
    def key(self, command):
        return command.key and f"{command.key} {command.msg}"


@wrong_answer_to("once", "another key is another message, whatever the text")
class ComparesTheTextOnly(PayOnce):
    def key(self, command):
        return command.key and command.msg


@wrong_answer_to("once", "a key that is no text is malformed")
class TakesNumbers(PayOnce):
    commands = (commands.SubscribeToWork, commands.Unsubscribe, SendWithAnyKey, commands.Ack)

    def key(self, command):
        return str(command.key) if command.key is not None else ""


@wrong_answer_to("once", "a restart does not forget the keys")
class ForgetsAtARestart(PayOnce):
    def begin_life(self, rules):
        super().begin_life(rules)
        for topic in self.topics.values():
            if topic.name.startswith("keys of"):
                topic.cache.clear()


@wrong_answer_to("once", "what was refused was not sent: it is refused again")
class RemembersTheRefused(PayOnce):
    def counts(self, sent):
        return True


@wrong_answer_to("once", "however many keys there are, and also for one")
class ForgetsAfterTen(PayOnce):
    def known(self, keys):
        return [message.msg for message in keys.cache][-10:]
