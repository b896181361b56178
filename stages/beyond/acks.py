"""A message handed to one worker is not lost when the worker dies.

    alice > {"command": "subscribe", "topic": "jobs", "ack": true, "prefetch": 1}
    alice < {"success": true}
    alice < {"command": "send", "topic": "jobs", "msg": "wash", "delivery": "one", "index": 0}
            alice breaks off
    bob   > {"command": "subscribe", "topic": "jobs", "ack": true}
    bob   < {"success": true}
    bob   < {"command": "send", "topic": "jobs", "msg": "wash", …, "index": 0, "redelivered": true}
    bob   > {"command": "ack", "topic": "jobs", "index": 0}
    bob   < {"success": true}

Source: as RabbitMQ (acknowledgements, prefetch) and NATS JetStream (ack wait, in flight) do it;
AMQP 0-9-1 coined the words.
"""

from dataclasses import dataclass
from typing import ClassVar

import msgspec
from msgspec import UNSET

from stages import command_line, settings
from stages.beyond import slow_consumers
from stages.beyond.broker import Outgoing, Rules, broker
from stages.beyond.broker.commands import (
    FULL,
    NOTHING_TO_ACKNOWLEDGE,
    Ack,
    Message,
    Send,
    SubscribeToWork,
    Unsubscribe,
)
from stages.beyond.broker.dispatch import SLICE, Alarms, Dispatcher
from stages.beyond.broker.in_flight import PREFETCH, InFlightPiece, Topic, Worker, WorkPiece
from stages.beyond.broker.topic import Client, Piece
from stages.beyond.server.sequencer import AtOnce, Sequencer


class Broker(broker.Broker[Topic]):
    """A queue that keeps a message for one until the worker says that it is done, for at most
    `ack_timeout` seconds."""

    commands = (SubscribeToWork, Unsubscribe, Send, Ack)
    pieces = broker.Broker.pieces | WorkPiece | InFlightPiece
    topic_class = Topic

    def __init__(self, rules: Rules = Rules()) -> None:
        super().__init__(rules)
        self.dispatcher = Dispatcher()
        self.alarms = Alarms()

    @property
    def due(self) -> float | None:
        if self.dispatcher.pending:
            return self.now
        return self.alarms.heap[0][0] if self.alarms.heap else None

    # Who takes part

    def subscribe(self, command: SubscribeToWork, client: Client) -> None:  # type: ignore[override]
        topic = self.topic(command.topic)
        worker = topic.workers.setdefault(client, Worker())
        worker.acknowledges = command.ack
        worker.prefetch = PREFETCH if command.prefetch is UNSET else command.prefetch
        # Anything sent from now on is new, even to a client that asked for no cache, or gave a
        # `last_seen` beyond the newest index.
        newest = topic.next_index - 1
        last_seen = -1 if command.last_seen is UNSET else command.last_seen
        worker.after = min(newest, last_seen) if command.cache else newest
        super().subscribe(command, client)
        topic.update_ready(client)

    def leave(self, topic: Topic, client: Client) -> None:
        """End a subscription; what the client has in flight it may still finish, and
        acknowledge."""
        topic.leave(client)
        self.forget_if_idle(topic, client)
        if topic.expired:  # perhaps everyone left has let it expire, and may have it again
            self.dispatcher.later(topic, min(topic.expired))

    def forget_if_idle(self, topic: Topic, client: Client) -> None:
        if client not in topic.subscribers and not topic.workers[client].in_flight:
            del topic.workers[client]
            del self.topics_of[client][topic.name]

    def disconnect(self, client: Client) -> None:
        topics = [self.topic(name) for name in sorted(self.topics_of.get(client, ()))]
        for topic in topics:
            self.leave(topic, client)
        for topic in topics:
            self.requeue(topic, topic.forget(client))
        self.topics_of.pop(client, None)
        # What it had is dispatched with the next batch, in slices: it may be much.

    def begin_life(self, rules: Rules) -> None:
        super().begin_life(rules)
        self.alarms.heap.clear()
        for topic in self.topics.values():
            self.requeue(topic, topic.forget_all())

    # From the sender to a worker

    def send(self, command: Send, client: Client) -> None:
        """Refuse a message for one that would have to wait where too many wait already."""
        topic = self.topic(command.topic)
        waits = command.delivery == "one" and command.cache is not False and not topic.ready
        if waits and len(topic.waiting) >= self.rules.waiting_length:
            detail = f"{len(topic.waiting)} messages of this topic wait"
            self.refuse(client, command.id, FULL, detail)
        elif waits and topic.waiting_size + len(command.msg) > self.rules.waiting_size:
            detail = f"{topic.waiting_size} characters of this topic wait"
            self.refuse(client, command.id, FULL, detail)
        else:
            super().send(command, client)

    def send_to_one(self, topic: Topic, message: Message) -> None:
        may_wait = message.cache is not False
        if topic.ready and not (may_wait and topic.dispatch_from is not None):
            self.deliver(topic, message, topic.ready.draw(self.random))
        elif may_wait:
            topic.enqueue([message])

    def deliver(self, topic: Topic, message: Message, client: Client) -> None:
        self.assign(topic, message, client)
        self.tell((client,), message)

    def assign(self, topic: Topic, message: Message, client: Client) -> None:
        topic.assign(message, client, self.now + self.rules.ack_timeout)
        self.alarms.set(topic)

    def take(self, topic: Topic, client: Client, after: int) -> list[Message]:
        """The waiting messages that a worker has room for, as far as this batch's budget allows."""
        messages = self.dispatcher.take(topic, client, after)
        for message in messages:
            self.assign(topic, message, client)
        return messages

    def refill(self, topic: Topic, client: Client) -> None:
        """Give a worker that has room again the messages that wait."""
        if topic.waiting and client in topic.ready:
            for message in self.take(topic, client, topic.workers[client].after):
                self.tell((client,), message)

    # When the work is done, and when it is not

    def ack(self, command: Ack, client: Client) -> None:
        """Forget a message whose work is done, and give the worker the next."""
        topic = self.topics.get(command.topic)
        if topic is None or not topic.may_acknowledge(command.index, client):
            detail = f"message {command.index} of this topic is not with you, or no longer"
            return self.refuse(client, command.id, NOTHING_TO_ACKNOWLEDGE, detail)
        topic.expired.pop(command.index, None)
        self.answer(client, command)
        if command.index in topic.in_flight:
            worker = topic.release(command.index)
            self.refill(topic, worker)
            self.forget_if_idle(topic, worker)
        else:
            topic.dequeue(command.index)

    def do_what_is_due(self) -> None:
        """Redeliver what workers have had for too long."""
        self.dispatcher.budget = SLICE
        for name in self.alarms.ring(self.now):
            self.expire(self.topic(name))
        self.dispatch()

    def expire(self, topic: Topic) -> None:
        topic.alarmed = False
        overdue = topic.expire(self.now, SLICE)
        self.alarms.set(topic)
        if not overdue:
            return  # the alarm was for a message that is done; a restored broker has no such alarm
        self.requeue(topic, [each.message for each in overdue])
        self.dispatch()
        for client in dict.fromkeys(each.client for each in overdue):
            self.refill(topic, client)
            self.forget_if_idle(topic, client)

    def requeue(self, topic: Topic, messages: list[Message]) -> None:
        """Put messages back that a worker has not finished, marked as redelivered."""
        if messages:
            topic.enqueue(msgspec.structs.replace(each, redelivered=True) for each in messages)
            self.dispatcher.later(topic, min(message.index for message in messages))

    def dispatch(self) -> None:
        """Hand messages that wait to workers that are ready."""
        for topic in map(self.topic, sorted(self.dispatcher.pending)):
            for message, client in self.dispatcher.hand_out(topic, self.random):
                self.deliver(topic, message, client)

    # The whole state

    def restore(self, piece: Piece) -> None:
        super().restore(piece)
        if isinstance(piece, WorkPiece) and piece.dispatch_from is not None:
            self.dispatcher.pending.add(piece.topic)
        if isinstance(piece, InFlightPiece):
            self.alarms.set(self.topic(piece.topic))

    def kept_of(self, topic: Topic) -> broker.Kept:
        kept = super().kept_of(topic)
        for each in topic.in_flight.values():
            kept.in_flight.setdefault(each.client, []).append(each.message)
        return kept


@dataclass(eq=False)
class Server(slow_consumers.Server):
    """A server that has a sequencer, and so also has carried out what is due: workers may hold a
    message too long."""

    ack_timeout: float = settings.setting(
        30.0, "seconds that a worker may have a message in flight", more_than=0
    )
    waiting_length: int = settings.setting(
        100_000, "messages that may wait for workers in a topic", at_least=0
    )
    waiting_size: int = settings.setting(
        2**26, "characters of such messages, in a topic", at_least=0
    )

    broker_class: ClassVar[type[Broker]] = Broker

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sequencer: Sequencer = AtOnce(self.broker, self, self.time)

    async def __aenter__(self) -> None:
        await self.sequencer.__aenter__()

    async def __aexit__(self, *failure: object) -> None:
        await self.sequencer.__aexit__(*failure)

    async def submit(self, client: Client, data: bytes | None) -> Outgoing:
        return await self.sequencer.submit(client, data)

    def dismiss(self, reason: str) -> None:
        for outbox in self.outboxes.values():
            outbox.dismiss({"success": False, "reason": reason}, self.write_timeout)


if __name__ == "__main__":
    command_line.main(Server)
