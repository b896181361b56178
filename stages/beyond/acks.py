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

import asyncio
import heapq
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from stages import serve, settings
from stages.beyond import broker, slow_consumers
from stages.beyond.broker import Batch, Outgoing, Settings
from stages.beyond.commands import FULL, NOTHING_TO_ACKNOWLEDGE, Command, Message, Send, Unsubscribe
from stages.beyond.commands import Subscribe as PlainSubscribe
from stages.beyond.in_flight import PREFETCH, InFlight, InFlightPiece, Topic, Worker, WorkPiece
from stages.beyond.topic import Client, Pool

SLICE = 1000
"""How many messages a broker redelivers in a batch; the rest waits for the next."""


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
        self.unoffered: set[str] = set()
        self.budget = SLICE

    @property
    def due(self) -> float | None:
        """When the broker needs a batch, though nobody says anything."""
        if self.unoffered:
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
        if client in topic.subscribers and topic.workers[client].has_room:
            topic.ready.add(client)
        else:
            topic.ready.discard(client)

    def leave(self, topic: Topic, client: Client) -> None:
        """End a subscription; what the client has in flight it may still finish, and
        acknowledge."""
        topic.subscribers.discard(client)
        topic.ready.discard(client)
        self.forget_if_idle(topic, client)
        if topic.expired:  # perhaps all that are left have let a message expire
            self.offer_from(topic, min(topic.expired))

    def forget_if_idle(self, topic: Topic, client: Client) -> None:
        if client not in topic.subscribers and not topic.workers[client].in_flight:
            del topic.workers[client]
            del self.topics_of[client][topic.name]

    def disconnect(self, client: Client) -> None:
        topics = [self.topic(name) for name in sorted(self.topics_of.get(client, ()))]
        for topic in topics:
            self.leave(topic, client)
        for topic in topics:
            if worker := topic.workers.pop(client, None):
                self.requeue(
                    topic, [topic.in_flight.pop(index).message for index in worker.in_flight]
                )
        self.topics_of.pop(client, None)
        self.offer_waiting()

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
        waits = (
            command.delivery == "one"
            and command.cache is not False
            and not self.someone_is_ready(topic)
        )
        if waits and len(topic.waiting) >= self.waiting_length:
            self.refuse(
                client, command.id, FULL, f"{len(topic.waiting)} messages of this topic wait"
            )
        elif waits and topic.waiting_size + len(command.msg) > self.waiting_size:
            self.refuse(
                client, command.id, FULL, f"{topic.waiting_size} characters of this topic wait"
            )
        else:
            super().send(command, client)

    def someone_is_ready(self, topic: Topic) -> bool:
        return len(topic.ready) > 0 and topic.unoffered is None

    def send_to_one(self, topic: Topic, message: Message) -> None:
        if self.someone_is_ready(topic):
            self.hand_over(topic, message, topic.ready.draw(self.random))
        elif message.cache is not False:
            self.wait(topic, [message])

    def wait(self, topic: Topic, messages: list[Message]) -> None:
        topic.waiting.update({message.index: message for message in messages})
        topic.waiting_size += sum(len(message.msg) for message in messages)

    def trim(self, topic: Topic) -> None:
        """Evict the oldest messages of the cache. What waits for a worker is never dropped."""
        while len(topic.cache) > self.cache_length:
            self.count_evicted(topic, topic.cache.popleft())

    def hand_over(self, topic: Topic, message: Message, client: Client) -> None:
        self.tell((client,), self.in_hands(topic, message, client))

    def in_hands(self, topic: Topic, message: Message, client: Client) -> Message:
        """Note that a client has a message: until it acknowledges it, or for good if it never
        does."""
        worker = topic.workers[client]
        if worker.acknowledges:
            deadline = self.now + self.ack_timeout
            topic.in_flight[message.index] = InFlight(message, client, deadline)
            self.set_alarm(topic)
            worker.in_flight[message.index] = None
            self.update_ready(topic, client)
        else:
            topic.expired.pop(message.index, None)
        return message

    def take(self, topic: Topic, client: Client, after: int) -> list[Message]:
        """The waiting messages that a worker has room for, lowest index first."""
        worker = topic.workers[client]
        room = min(worker.prefetch - len(worker.in_flight), SLICE) if worker.acknowledges else SLICE
        indexes = topic.waiting.irange(minimum=after + 1)
        taken = list(
            islice(
                (index for index in indexes if self.may_have(topic, index, client)), max(0, room)
            )
        )
        if len(taken) == SLICE:
            self.offer_from(topic, taken[-1] + 1)  # the rest in further batches
        return [self.in_hands(topic, self.no_longer_waits(topic, index), client) for index in taken]

    def no_longer_waits(self, topic: Topic, index: int) -> Message:
        message: Message = topic.waiting.pop(index)
        topic.waiting_size -= len(message.msg)
        return message

    def feed(self, topic: Topic, client: Client) -> None:
        """Give a worker that has room again the messages that wait."""
        if client in topic.ready:
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
            worker = self.take_from_worker(topic, index)
            self.feed(topic, worker)
            self.forget_if_idle(topic, worker)
        else:
            self.no_longer_waits(topic, index)

    def may_acknowledge(self, command: Ack, client: Client) -> bool:
        """Whether a client has the message, or has had it: a worker that was late has done its work
        all the same."""
        if command.topic not in self.topics:
            return False
        topic = self.topic(command.topic)
        in_flight = topic.in_flight.get(command.index)
        return (
            in_flight is not None and in_flight.client == client
        ) or client in topic.expired.get(command.index, ())

    def take_from_worker(self, topic: Topic, index: int) -> Client:
        client = topic.in_flight.pop(index).client
        del topic.workers[client].in_flight[index]
        self.update_ready(topic, client)
        return client

    def tick(self) -> None:
        """Redeliver what workers have had for too long."""
        self.budget = SLICE
        due = set()
        while self.alarms and self.alarms[0][0] <= self.now:
            due.add(heapq.heappop(self.alarms)[1])
        for topic in map(self.topic, sorted(due)):
            topic.alarmed = False
            self.expire(topic)
        self.offer_waiting()

    def set_alarm(self, topic: Topic) -> None:
        if topic.in_flight and not topic.alarmed:
            topic.alarmed = True
            heapq.heappush(self.alarms, (next(iter(topic.in_flight.values())).deadline, topic.name))

    def expire(self, topic: Topic) -> None:
        overdue = [
            each for each in islice(topic.in_flight.values(), SLICE) if each.deadline <= self.now
        ]
        for each in overdue:
            lost_by = topic.expired.setdefault(each.message.index, [])
            if each.client not in lost_by:
                lost_by.append(each.client)
            self.take_from_worker(topic, each.message.index)
        self.set_alarm(topic)
        self.requeue(topic, [each.message for each in overdue])
        self.offer_waiting()
        for client in dict.fromkeys(each.client for each in overdue):
            self.feed(topic, client)
            self.forget_if_idle(topic, client)

    def requeue(self, topic: Topic, messages: list[Message]) -> None:
        """Let messages wait that a worker has not done."""
        if messages:
            self.wait(
                topic, [msgspec.structs.replace(message, redelivered=True) for message in messages]
            )
            self.offer_from(topic, min(message.index for message in messages))

    def offer_from(self, topic: Topic, index: int) -> None:
        topic.unoffered = index if topic.unoffered is None else min(index, topic.unoffered)
        self.unoffered.add(topic.name)

    def offer_waiting(self) -> None:
        """Hand messages that wait to workers that are ready, no more in a batch than the budget
        allows."""
        for topic in [self.topic(name) for name in sorted(self.unoffered)]:
            for index in list(
                islice(topic.waiting.irange(minimum=topic.unoffered), self.budget + 1)
            ):
                if self.budget == 0:
                    topic.unoffered = index
                    return
                if not topic.ready:
                    break
                self.budget -= 1
                client = self.draw(topic, index)
                if client is not None:
                    self.hand_over(topic, self.no_longer_waits(topic, index), client)
            topic.unoffered = None
            self.unoffered.remove(topic.name)

    def draw(self, topic: Topic, index: int) -> Client | None:
        """One of the workers that are ready and have not let this message expire."""
        lost_by = topic.expired.get(index, ())
        if len(topic.ready) > 2 * len(lost_by):
            while (client := topic.ready.draw(self.random)) in lost_by:
                pass
            return client
        willing = [client for client in topic.ready.clients if self.may_have(topic, index, client)]
        return self.random.choice(willing) if willing else None

    def may_have(self, topic: Topic, index: int, client: Client) -> bool:
        """Not if it has let the message expire, unless all others have, too."""
        lost_by = topic.expired.get(index, ())
        return client not in lost_by or all(other in lost_by for other in topic.subscribers.clients)

    # The whole state

    def new_topic(self, name: str) -> Topic:
        return Topic(name)

    def set(self, settings: Settings) -> None:
        super().set(settings)
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
        if isinstance(piece, WorkPiece) and piece.unoffered is not None:
            self.unoffered.add(piece.topic)
        if isinstance(piece, InFlightPiece):
            self.set_alarm(self.topic(piece.topic))

    def kept_of(self, topic: Topic) -> broker.Kept:
        kept = super().kept_of(topic)
        for each in topic.in_flight.values():
            kept.in_flight.setdefault(each.client, []).append(each.message)
        return kept


@dataclass(eq=False)
class Server(slow_consumers.Server):
    """A server with a timer for what workers hold too long."""

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
        self.timer: asyncio.TimerHandle | None = None

    def new_broker(self) -> Broker:
        return self.broker_class(
            ack_timeout=self.ack_timeout,
            waiting_length=self.waiting_length,
            waiting_size=self.waiting_size,
            cache_length=self.cache_length,
            seed=self.seed,
        )

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *failure: object) -> None:
        if self.timer:
            self.timer.cancel()

    async def carry_out(self, client: Client, data: bytes | None) -> Outgoing:
        outgoing = await super().carry_out(client, data)
        self.set_timer()
        return outgoing

    def set_timer(self) -> None:
        """Have `tick` called when the broker needs a batch."""
        if self.timer:
            self.timer.cancel()
        due = self.broker.due
        self.timer = None if due is None else asyncio.get_running_loop().call_at(due, self.tick)

    def tick(self) -> None:
        for outgoing in self.broker.carry_out(Batch(self.time(), [])):
            self.send(outgoing)
        self.set_timer()


if __name__ == "__main__":
    serve.main(Server)
