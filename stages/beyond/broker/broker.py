"""The rules of the queue: commands of clients go in, and what is to be sent to whom comes out.

    broker = Broker(Rules(cache_length=100, seed=42))
    broker.carry_out(Batch(time=0.0, inputs=[(1, b'{"command": "subscribe", "topic": "foo"}')]))
    -> [[((1,), [{"success": True}])]]

No I/O, no clock, no luck of its own: two brokers that are given the same in the same order are the
same. It compares clients, and does nothing else with them.

Source: the five stages of the article, folded into one; the replicated state machine of Lamport
(1978) and LMAX.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, ClassVar, Generic, Union

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
from stages.beyond.broker.rules import Rules
from stages.beyond.broker.topic import (
    Client,
    MessagesPiece,
    Piece,
    PieceOfTopic,
    PieceTypes,
    Pool,
    Topic,
    TopicPiece,
    by_index,
)
from stages.beyond.broker.topics import Topics, TopicT

Outgoing = list[tuple[Sequence[Client], Sequence[Line]]]
"""Pairs of recipients and what to send them, in order."""


class Batch(Struct, array_like=True):
    """What a broker is given at once: the time, in seconds, and what clients have said since the
    last batch.

    An input is a client with its lines, or with None once it has left. With `rules` a new life
    begins: all clients have left, the time may have gone back, and these hold from now on.
    """

    time: float
    inputs: list[tuple[Client, bytes | None]]
    rules: Rules | None = None


class BrokerPiece(Piece, tag="broker", array_like=True):
    """What belongs to no topic."""

    now: float
    rules: Rules
    random: tuple[int, tuple[int, ...], float | None]


class Kept(Struct):
    """What the lab shows of a topic."""

    next_index: int
    subscribers: list[Client]
    messages: list[Message]  # cached and waiting
    in_flight: dict[Client, list[Message]]


class Broker(Generic[TopicT]):
    """A queue that says how each command went.

    To extend it: add a type to `commands` and a method of its name, or extend the methods under
    "The rules". A rule comes to a topic by `self.topic(name)` or `self.topics`, and speaks by
    `tell`, `answer` and `refuse`; what it remembers for a snapshot is a piece.
    """

    commands: ClassVar[tuple[type[Command], ...]] = (Subscribe, Unsubscribe, Send)
    pieces: ClassVar[PieceTypes] = BrokerPiece | TopicPiece | MessagesPiece
    topic_class: ClassVar[type[Any]] = Topic

    def __init__(self, rules: Rules = Rules()) -> None:
        self.rules = rules
        self.random = random.Random(rules.seed)
        self.now = 0.0
        self.topics: Topics[TopicT] = Topics(self.topic_class)
        self.topic = self.topics.named
        self.topics_of: dict[Client, dict[str, None]] = {}  # a dict, since a set has no order
        self.outgoing: Outgoing = []
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[self.commands])  # noqa: UP007
        self.methods = {
            kind: getattr(self, str(kind.__struct_config__.tag)) for kind in self.commands
        }

    @property
    def due(self) -> float | None:
        """When the broker needs a batch, though nobody says anything: here, never."""
        return None

    # What goes in, and what comes out

    def carry_out(self, batch: Batch) -> list[Outgoing]:
        """Do what a batch says. Returns what is to be sent: first what the time alone has caused,
        then a part for each input. After calling this, you must send the parts in order, and not
        before the batch is safe."""
        if batch.rules is not None:
            self.now = batch.time
            self.begin_life(batch.rules)
        self.now = max(self.now, batch.time)
        self.do_what_is_due()
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

    def do_what_is_due(self) -> None:
        """No rule of this broker needs the time."""

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
        last_seen = -1 if command.last_seen is UNSET else command.last_seen
        missed = 0 if command.last_seen is UNSET else topic.missed_since(last_seen)
        self.answer(client, command, **({"missed": missed} if missed else {}))
        if command.cache:
            self.replay(topic, client, last_seen)

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
            topic.trim(self.rules.cache_length)

    def send_to_one(self, topic: TopicT, message: Message) -> None:
        if topic.subscribers:
            self.tell((topic.subscribers.draw(self.random),), message)
        elif message.cache is not False:
            topic.waiting[message.index] = message
            topic.trim(self.rules.cache_length)

    def disconnect(self, client: Client) -> None:
        """Forget a client."""
        for name in list(self.topics_of.get(client, ())):
            self.leave(self.topic(name), client)
        self.topics_of.pop(client, None)

    def begin_life(self, rules: Rules) -> None:
        """Forget all clients."""
        self.rules = rules
        self.random.seed(rules.seed)
        for topic in self.topics.values():
            topic.subscribers = Pool()
        self.topics_of.clear()

    # The whole state

    def snapshot(self) -> Iterator[Piece]:
        """The state as it is now, in small pieces. The broker may go on while you take them. Only
        one snapshot can be under way."""
        head = BrokerPiece(self.now, self.rules, self.random.getstate())
        return chain[Piece]([head], self.topics.snapshot())

    def restore(self, piece: Piece) -> None:
        """Take in one of the pieces of a snapshot, of another broker; this one is new."""
        if isinstance(piece, BrokerPiece):
            self.now = piece.now
            self.rules = piece.rules
            self.random.setstate(piece.random)
        elif isinstance(piece, PieceOfTopic):
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
