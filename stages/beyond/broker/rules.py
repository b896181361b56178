"""The rules of the queue: commands of clients go in, and what is to be sent to whom comes out.

    broker = Broker(cache_length=100, seed=42)
    broker.carry_out(Batch(time=0.0, inputs=[(1, b'{"command": "subscribe", "topic": "foo"}')]))
    -> [[((1,), [{"success": True}])]]

No I/O, no clock, no luck of its own: two brokers that are given the same in the same order are the
same. It compares clients, and does nothing else with them.

Source: the five stages of the article, folded into one; the replicated state machine of Lamport
(1978) and LMAX.
"""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar, Union

import msgspec
from msgspec import UNSET, Struct

from stages.beyond.broker import commands
from stages.beyond.broker.commands import (
    Answer,
    Command,
    Id,
    Line,
    Message,
    Send,
    Subscribe,
    Unsubscribe,
)
from stages.beyond.broker.topic import Client, MessagesPiece, Pool, Topic, TopicPiece, by_index

Settings = dict[str, int | float]
"""The settings that the rules depend on, and a seed. They arrive in a batch, like everything else,
so replaying a log does not depend on the flags of the server that replays it."""

Outgoing = list[tuple[Sequence[Client], Sequence[Line]]]
"""Pairs of recipients and what to send them, in order."""


class Batch(Struct, array_like=True):
    """What a broker is given at once: the time, in seconds, and what clients have said since the
    last batch.

    An input is a client with its lines, or with None once it has left. A `restart` begins a new
    life: all clients have left, the time may have gone back, and these are the settings from now
    on.
    """

    time: float
    inputs: list[tuple[Client, bytes | None]]
    restart: Settings | None = None


class BrokerPiece(Struct, tag="broker", array_like=True):
    """The part of a snapshot that belongs to no topic."""

    now: float
    settings: Settings
    random: tuple[int, tuple[int, ...], float | None]


class Kept(Struct):
    """What the lab shows of a topic."""

    next_index: int
    subscribers: list[Client]
    messages: list[Message]  # cached and waiting
    in_flight: dict[Client, list[Message]]


TopicT = TypeVar("TopicT", bound=Topic)


class Broker(Generic[TopicT]):
    """A queue that says how each command went."""

    commands: ClassVar[tuple[type[Command], ...]] = (Subscribe, Unsubscribe, Send)
    pieces: ClassVar[Any] = BrokerPiece | TopicPiece | MessagesPiece

    def __init__(self, *, cache_length: int = 100, seed: int | None = None) -> None:
        self.cache_length = cache_length
        self.random = random.Random(seed)
        self.now = 0.0
        self.topics: dict[str, TopicT] = {}
        self.topics_of: dict[Client, dict[str, None]] = {}  # a dict, since a set has no order
        self.outgoing: Outgoing = []
        self.uncopied: dict[str, TopicT] = {}  # what a snapshot that is under way still has to copy
        self.copied: deque[Iterator[Any]] = deque()  # what it has copied, and not yet given out
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[self.commands])  # noqa: UP007
        self.methods = {
            kind: getattr(self, str(kind.__struct_config__.tag)) for kind in self.commands
        }

    # What goes in, and what comes out

    def carry_out(self, batch: Batch) -> list[Outgoing]:
        """Do what a batch says. Returns what is to be sent: first what the time alone has caused,
        then a part for each input. After calling this, you must send the parts in order, and not
        before the batch is safe."""
        if batch.restart is not None:
            self.now = batch.time
            self.restart(batch.restart)
        self.now = max(self.now, batch.time)
        self.tick()
        parts = [self.take_outgoing()]
        for client, data in batch.inputs:
            if data is None:
                self.disconnect(client)
            else:
                self.handle_lines(client, data)
            parts.append(self.take_outgoing())
        return parts

    def take_outgoing(self) -> Outgoing:
        outgoing, self.outgoing = self.outgoing, []
        return outgoing

    def tick(self) -> None:
        """Do what is due. No rule of this broker needs the time."""

    def handle_lines(self, client: Client, data: bytes) -> None:
        for line in data.split(b"\n"):
            self.handle(client, line)

    def handle(self, client: Client, line: bytes) -> None:
        """Carry out one line, or answer what is wrong with it."""
        try:
            command = commands.decode(line, self.decoder)
        except commands.Rejected as problem:
            self.refuse(client, problem.id, problem.reason, problem.detail)
        else:
            self.methods[type(command)](command, client)

    def tell(self, clients: Sequence[Client], *what: Message | Answer) -> None:
        self.outgoing.append((clients, what))

    def answer(self, client: Client, command: Command, **fields: Any) -> None:
        """Say that a command has succeeded."""
        if command.id is not UNSET:
            fields["id"] = command.id
        self.tell((client,), {"success": True, **fields})

    def refuse(self, client: Client, id: Id, reason: str, detail: str = "") -> None:
        """Say that a command has failed; the `detail` only if it has an `id`."""
        self.tell((client,), commands.refusal(commands.Rejected(reason, detail, id)))

    # The rules

    def subscribe(self, command: Subscribe, client: Client) -> None:
        """From now on, send the client the messages of the topic; first those that it has not
        seen."""
        topic = self.topic(command.topic)
        topic.subscribers.add(client)
        self.topics_of.setdefault(client, {})[topic.name] = None
        missed = self.missed(topic, command)
        self.answer(client, command, **({"missed": missed} if missed else {}))
        if command.cache:
            self.replay(topic, client, -1 if command.last_seen is UNSET else command.last_seen)

    def missed(self, topic: TopicT, command: Subscribe) -> int:
        """How many messages after `last_seen` the cache has evicted. Nothing up to `last_evicted`
        is cached any more: at most `evicted` messages are gone, and at most as many as there are
        indexes after `last_seen`. Exact if every message was cached once."""
        if command.last_seen is UNSET:
            return 0
        return max(0, min(topic.evicted, topic.last_evicted - command.last_seen))

    def replay(self, topic: TopicT, client: Client, after: int) -> None:
        """Send a subscriber what it has not seen, oldest message first."""
        messages = topic.cached_after(after)
        if taken := self.take(topic, client, after):
            messages = sorted([*messages, *taken], key=by_index)
        if messages:
            self.outgoing.append(((client,), messages))  # shared: it may be long

    def take(self, topic: TopicT, client: Client, after: int) -> list[Message]:
        """The messages for one that a subscriber gets of those that wait."""
        return [topic.waiting.pop(index) for index in list(topic.waiting.irange(minimum=after + 1))]

    def unsubscribe(self, command: Unsubscribe, client: Client) -> None:
        """Send the client no more of the topic."""
        if command.topic in self.topics_of.get(client, {}):
            self.leave(self.topic(command.topic), client)
        self.answer(client, command)

    def leave(self, topic: TopicT, client: Client) -> None:
        topic.subscribers.discard(client)
        del self.topics_of[client][topic.name]

    def send(self, command: Send, client: Client) -> None:
        """Number a message, and pass it on."""
        topic = self.topic(command.topic)
        message = self.numbered(topic, command)
        topic.next_index += 1
        if command.delivery == "all":
            self.send_to_all(topic, message)
        else:
            self.send_to_one(topic, message)
        self.answer(client, command)

    def numbered(self, topic: TopicT, command: Send) -> Message:
        return Message(
            topic=topic.name,
            msg=command.msg,
            delivery=command.delivery,
            cache=command.cache,
            index=topic.next_index,
        )

    def send_to_all(self, topic: TopicT, message: Message) -> None:
        if topic.subscribers:
            self.tell(tuple(topic.subscribers.clients), message)
        if message.cache is not False:
            topic.cache.append(message)
            self.trim(topic)

    def send_to_one(self, topic: TopicT, message: Message) -> None:
        if topic.subscribers:
            self.tell((topic.subscribers.draw(self.random),), message)
        elif message.cache is not False:
            topic.waiting[message.index] = message
            self.trim(topic)

    def trim(self, topic: TopicT) -> None:
        """Evict the oldest messages, of both kinds, while there are more than `cache_length`."""
        while len(topic.cache) + len(topic.waiting) > self.cache_length:
            if not topic.cache or (
                topic.waiting and topic.waiting.keys()[0] < topic.cache[0].index
            ):
                self.count_evicted(topic, topic.waiting.popitem(0)[1])
            else:
                self.count_evicted(topic, topic.cache.popleft())

    def count_evicted(self, topic: TopicT, message: Message) -> None:
        topic.evicted += 1
        topic.last_evicted = message.index

    def disconnect(self, client: Client) -> None:
        """Forget a client."""
        for name in list(self.topics_of.get(client, ())):
            self.leave(self.topic(name), client)
        self.topics_of.pop(client, None)

    def restart(self, settings: Settings) -> None:
        """Forget all clients."""
        self.use(settings)
        self.random.seed(settings["seed"])
        for topic in map(self.topic, list(self.topics)):
            topic.subscribers = Pool()
        self.topics_of.clear()

    def topic(self, name: str) -> TopicT:
        """The topic of that name, to be read or changed. Every rule comes to a topic in this
        way."""
        topic = self.topics.get(name)
        if topic is None:
            topic = self.topics[name] = self.new_topic(name)
        elif name in self.uncopied:
            self.copied.append(self.uncopied.pop(name).pieces())
        return topic

    def new_topic(self, name: str) -> TopicT:
        topic: Any = Topic(name)
        return topic  # type: ignore[no-any-return]

    def use(self, settings: Settings) -> None:
        self.cache_length = int(settings["cache_length"])

    def settings(self) -> Settings:
        return {"cache_length": self.cache_length}

    # The whole state

    def snapshot(self) -> Iterator[Any]:
        """The state as it is now, in small pieces. The broker may go on while you take them: a
        topic that is about to change is copied first. Only one snapshot can be under way."""
        self.uncopied = dict(self.topics)
        head = BrokerPiece(self.now, self.settings(), self.random.getstate())
        self.copied = deque([iter([head])])
        return self.next_pieces()

    def next_pieces(self) -> Iterator[Any]:
        while self.copied or self.uncopied:
            if not self.copied:
                self.copied.append(self.uncopied.popitem()[1].pieces())
            yield from self.copied.popleft()

    def restore(self, piece: Any) -> None:
        """Take in one of the pieces of a snapshot, of another broker; this one is new."""
        if isinstance(piece, BrokerPiece):
            self.now = piece.now
            self.use(piece.settings)
            self.random.setstate(piece.random)
        else:
            topic = self.topic(piece.topic)
            topic.restore(piece)
            for client in topic.clients():
                self.topics_of.setdefault(client, {})[topic.name] = None

    def kept(self) -> dict[str, Kept]:
        """What the lab shows, by topic."""
        return {name: self.kept_of(topic) for name, topic in self.topics.items()}

    def kept_of(self, topic: TopicT) -> Kept:
        messages = sorted([*topic.cache, *topic.waiting.values()], key=by_index)
        return Kept(topic.next_index, list(topic.subscribers.clients), messages, {})
