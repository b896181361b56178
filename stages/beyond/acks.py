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

import heapq
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from stages import command_line, settings
from stages.beyond import broker, slow_consumers
from stages.beyond.broker import Outgoing, Settings
from stages.beyond.broker.commands import (
    FULL,
    NOTHING_TO_ACKNOWLEDGE,
    Command,
    Message,
    Send,
    Unsubscribe,
)
from stages.beyond.broker.commands import Subscribe as PlainSubscribe
from stages.beyond.broker.in_flight import (
    PREFETCH,
    InFlight,
    InFlightPiece,
    Topic,
    Worker,
    WorkPiece,
)
from stages.beyond.broker.topic import Client, Pool
from stages.beyond.server.sequencer import AtOnce, Sequencer

SLICE = 1000
"""How many waiting messages are looked at in a batch, and how many expire: the rest waits for the
next batch. (A log is carried out again with this: see `log.FORMAT`.)"""

DRAWS = 5
"""How often a worker is drawn at random before all are looked through."""


class Subscribe(PlainSubscribe, tag="subscribe"):
    ack: bool = False
    prefetch: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.prefetch is not UNSET and not self.ack:
            raise ValueError(
                "`prefetch` counts unacknowledged messages: expected `ack`: true with it"
            )


class Ack(Command, tag="ack"):
    index: int


class Broker(broker.Broker[Topic]):
    """A queue that keeps a message for one until the worker says that it is done, for at most
    `ack_timeout` seconds."""

    commands = (Subscribe, Unsubscribe, Send, Ack)
    pieces = broker.Broker.pieces | WorkPiece | InFlightPiece

    def __init__(
        self,
        *,
        ack_timeout: float = 30.0,
        waiting_length: int = 100_000,
        waiting_size: int = 2**26,
        cache_length: int = 100,
        seed: int | None = None,
    ) -> None:
        super().__init__(cache_length=cache_length, seed=seed)
        self.ack_timeout = ack_timeout
        self.waiting_length = waiting_length
        self.waiting_size = waiting_size
        # A heap: no message of a topic is overdue before its alarm.
        self.alarms: list[tuple[float, str]] = []
        # The topics where messages may wait although a worker is ready.
        self.to_dispatch: set[str] = set()
        self.budget = SLICE

    @property
    def due(self) -> float | None:
        """When the broker needs a batch, though nobody says anything."""
        if self.to_dispatch:
            return self.now
        return self.alarms[0][0] if self.alarms else None

    # Who takes part

    def subscribe(self, command: Subscribe, client: Client) -> None:  # type: ignore[override]
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
        self.update_ready(topic, client)

    def update_ready(self, topic: Topic, client: Client) -> None:
        if client in topic.subscribers and topic.workers[client].room:
            topic.ready.add(client)
        else:
            topic.ready.discard(client)

    def leave(self, topic: Topic, client: Client) -> None:
        """End a subscription; what the client has in flight it may still finish, and
        acknowledge."""
        topic.subscribers.discard(client)
        topic.ready.discard(client)
        self.forget_if_idle(topic, client)
        if topic.expired:  # perhaps everyone left has let it expire, and may have it again
            self.dispatch_later(topic, min(topic.expired))

    def forget_if_idle(self, topic: Topic, client: Client) -> None:
        if client not in topic.subscribers and not topic.workers[client].in_flight:
            del topic.workers[client]
            del self.topics_of[client][topic.name]

    def disconnect(self, client: Client) -> None:
        topics = [self.topic(name) for name in sorted(self.topics_of.get(client, ()))]
        for topic in topics:
            self.leave(topic, client)
        for topic in topics:
            for lost_by in topic.expired.values():
                lost_by.pop(client, None)
            if worker := topic.workers.pop(client, None):
                self.requeue(
                    topic, [topic.in_flight.pop(index).message for index in worker.in_flight]
                )
        self.topics_of.pop(client, None)
        # What it had is dispatched with the next batch, in slices: it may be much.

    def restart(self, settings: Settings) -> None:
        super().restart(settings)
        self.alarms.clear()
        for topic in map(self.topic, list(self.topics)):
            topic.ready, topic.workers, topic.alarmed = Pool(), {}, False
            self.requeue(topic, [each.message for each in topic.in_flight.values()])
            topic.in_flight.clear()
            topic.expired.clear()

    # From the sender to a worker

    def send(self, command: Send, client: Client) -> None:
        """Refuse a message for one that would have to wait where too many wait already."""
        topic = self.topic(command.topic)
        waits = command.delivery == "one" and command.cache is not False and not topic.ready
        if waits and len(topic.waiting) >= self.waiting_length:
            detail = f"{len(topic.waiting)} messages of this topic wait"
            self.refuse(client, command.id, FULL, detail)
        elif waits and topic.waiting_size + len(command.msg) > self.waiting_size:
            detail = f"{topic.waiting_size} characters of this topic wait"
            self.refuse(client, command.id, FULL, detail)
        else:
            super().send(command, client)

    def send_to_one(self, topic: Topic, message: Message) -> None:
        may_wait = message.cache is not False
        if topic.ready and not (may_wait and topic.dispatch_from is not None):
            self.deliver(topic, message, topic.ready.draw(self.random))
        elif may_wait:
            self.enqueue(topic, [message])

    def enqueue(self, topic: Topic, messages: list[Message]) -> None:
        topic.waiting.update({message.index: message for message in messages})
        topic.waiting_size += sum(len(message.msg) for message in messages)

    def trim(self, topic: Topic) -> None:
        """Evict the oldest messages of the cache. What waits for a worker is never dropped."""
        too_many = len(topic.cache) - self.cache_length
        if too_many > 0:
            for _ in range(too_many):
                last = topic.cache.popleft()
            topic.evicted += too_many
            topic.last_evicted = last.index

    def deliver(self, topic: Topic, message: Message, client: Client) -> None:
        self.assign(topic, message, client)
        self.tell((client,), message)

    def assign(self, topic: Topic, message: Message, client: Client) -> None:
        """A client has a message: until it acknowledges it, or for good if it never does."""
        worker = topic.workers[client]
        if worker.acknowledges:
            deadline = self.now + self.ack_timeout
            topic.in_flight[message.index] = InFlight(message, client, deadline)
            self.set_alarm(topic)
            worker.in_flight[message.index] = None
            self.update_ready(topic, client)
        else:
            topic.expired.pop(message.index, None)

    def take(self, topic: Topic, client: Client, after: int) -> list[Message]:
        """The waiting messages that a worker has room for, lowest index first, as far as the budget
        of this batch allows."""
        room, indexes = topic.workers[client].room, list[int]()
        for index in topic.waiting.irange(minimum=after + 1):
            if len(indexes) == room:
                break
            if self.budget == 0:
                self.dispatch_later(topic, index)
                break
            self.budget -= 1
            if self.is_eligible(topic, index, client):
                indexes.append(index)
        messages = [self.dequeue(topic, index) for index in indexes]
        for message in messages:
            self.assign(topic, message, client)
        return messages

    def dequeue(self, topic: Topic, index: int) -> Message:
        message: Message = topic.waiting.pop(index)
        topic.waiting_size -= len(message.msg)
        return message

    def refill(self, topic: Topic, client: Client) -> None:
        """Give a worker that has room again the messages that wait."""
        if topic.waiting and client in topic.ready:
            for message in self.take(topic, client, topic.workers[client].after):
                self.tell((client,), message)

    # When the work is done, and when it is not

    def ack(self, command: Ack, client: Client) -> None:
        """Forget a message whose work is done, and give the worker the next."""
        if not self.may_acknowledge(command, client):
            detail = f"message {command.index} of this topic is not with you, or no longer"
            return self.refuse(client, command.id, NOTHING_TO_ACKNOWLEDGE, detail)
        topic, index = self.topic(command.topic), command.index
        topic.expired.pop(index, None)
        self.answer(client, command)
        if index in topic.in_flight:
            worker = self.release(topic, index)
            self.refill(topic, worker)
            self.forget_if_idle(topic, worker)
        else:
            self.dequeue(topic, index)

    def may_acknowledge(self, command: Ack, client: Client) -> bool:
        """Whether a client has the message, or has had it: a late acknowledgement counts, since the
        work is done."""
        if command.topic not in self.topics:
            return False
        topic = self.topic(command.topic)
        in_flight = topic.in_flight.get(command.index)
        return (
            in_flight is not None and in_flight.client == client
        ) or client in topic.expired.get(command.index, ())

    def release(self, topic: Topic, index: int) -> Client:
        """Take a message out of the hands of its worker. Returns who that was."""
        client = topic.in_flight.pop(index).client
        del topic.workers[client].in_flight[index]
        self.update_ready(topic, client)
        return client

    def tick(self) -> None:
        """Redeliver what workers have had for too long."""
        self.budget = SLICE
        overdue = set()
        while self.alarms and self.alarms[0][0] <= self.now:
            overdue.add(heapq.heappop(self.alarms)[1])
        for topic in map(self.topic, sorted(overdue)):
            topic.alarmed = False
            self.expire(topic)
        self.dispatch()

    def set_alarm(self, topic: Topic) -> None:
        if topic.in_flight and not topic.alarmed:
            topic.alarmed = True
            first = next(iter(topic.in_flight.values()))
            heapq.heappush(self.alarms, (first.deadline, topic.name))

    def expire(self, topic: Topic) -> None:
        some = islice(topic.in_flight.values(), SLICE)
        overdue = [each for each in some if each.deadline <= self.now]
        for each in overdue:
            topic.expired.setdefault(each.message.index, {})[each.client] = None
            self.release(topic, each.message.index)
        self.set_alarm(topic)
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
            again = [msgspec.structs.replace(message, redelivered=True) for message in messages]
            self.enqueue(topic, again)
            self.dispatch_later(topic, min(message.index for message in messages))

    def dispatch_later(self, topic: Topic, index: int) -> None:
        first = index if topic.dispatch_from is None else topic.dispatch_from
        topic.dispatch_from = min(index, first)
        self.to_dispatch.add(topic.name)

    def dispatch(self) -> None:
        """Hand messages that wait to workers that are ready, no more in a batch than the budget
        allows."""
        for topic in map(self.topic, sorted(self.to_dispatch)):
            if self.dispatch_topic(topic):
                topic.dispatch_from = None
                self.to_dispatch.remove(topic.name)

    def dispatch_topic(self, topic: Topic) -> bool:
        """Returns whether no message is left that might be handed to somebody."""
        waiting = topic.waiting.irange(minimum=topic.dispatch_from)
        for index in list(islice(waiting, self.budget + 1)):
            if not topic.ready:
                break
            if self.budget == 0:
                topic.dispatch_from = index
                return False
            self.budget -= 1
            client = self.draw(topic, index)
            if client is not None:
                self.deliver(topic, self.dequeue(topic, index), client)
        return True

    def draw(self, topic: Topic, index: int) -> Client | None:
        """One of the workers that are ready and may have this message."""
        for _ in range(DRAWS):  # nearly always the first will do
            client = topic.ready.draw(self.random)
            if self.wants(topic, index, client) and client not in topic.expired.get(index, ()):
                return client
        willing = [each for each in topic.ready.clients if self.wants(topic, index, each)]
        if not self.all_have_lost(topic, index):
            willing = [each for each in willing if each not in topic.expired.get(index, ())]
        return self.random.choice(willing) if willing else None

    def is_eligible(self, topic: Topic, index: int, client: Client) -> bool:
        """Whether a client may have a message: one that it wants, and that it has not let expire,
        unless all subscribers have."""
        lost = client in topic.expired.get(index, ()) and not self.all_have_lost(topic, index)
        return self.wants(topic, index, client) and not lost

    def all_have_lost(self, topic: Topic, index: int) -> bool:
        lost_by = topic.expired.get(index, {})
        return len(lost_by) >= len(topic.subscribers) and all(
            client in lost_by for client in topic.subscribers.clients
        )

    def wants(self, topic: Topic, index: int, client: Client) -> bool:
        return index > topic.workers[client].after

    # The whole state

    def new_topic(self, name: str) -> Topic:
        return Topic(name)

    def use(self, settings: Settings) -> None:
        super().use(settings)
        self.ack_timeout = settings["ack_timeout"]
        self.waiting_length = int(settings["waiting_length"])
        self.waiting_size = int(settings["waiting_size"])

    def settings(self) -> Settings:
        own = {
            "ack_timeout": self.ack_timeout,
            "waiting_length": self.waiting_length,
            "waiting_size": self.waiting_size,
        }
        return super().settings() | own

    def restore(self, piece: Any) -> None:
        super().restore(piece)
        if isinstance(piece, WorkPiece) and piece.dispatch_from is not None:
            self.to_dispatch.add(piece.topic)
        if isinstance(piece, InFlightPiece):
            self.set_alarm(self.topic(piece.topic))

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
    broker: Broker = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sequencer: Sequencer = AtOnce(self.broker, self, self.time)

    def new_broker(self) -> Broker:
        return self.broker_class(
            ack_timeout=self.ack_timeout,
            waiting_length=self.waiting_length,
            waiting_size=self.waiting_size,
            cache_length=self.cache_length,
            seed=self.seed,
        )

    async def __aenter__(self) -> None:
        await self.sequencer.__aenter__()

    async def __aexit__(self, *failure: object) -> None:
        await self.sequencer.__aexit__(*failure)

    async def carry_out(self, client: Client, data: bytes | None) -> Outgoing:
        return await self.sequencer.carry_out(client, data)

    def dismiss(self, reason: str) -> None:
        for outbox in self.outboxes.values():
            outbox.dismiss({"success": False, "reason": reason}, self.write_timeout)


if __name__ == "__main__":
    command_line.main(Server)
