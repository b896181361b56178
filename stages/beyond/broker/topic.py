"""What a broker knows of a topic: who subscribes, and which messages are kept."""

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from types import UnionType
from typing import overload

from msgspec import Struct
from sortedcontainers import SortedDict

from stages.beyond.broker.commands import Message

Client = int
"""The number of a connection: never used again while the server runs, but from 1 on by the next."""

PIECE, PIECE_SIZE = 1000, 2**20
"""How many messages a piece of a snapshot has at most, and about how many characters."""

by_index = attrgetter("index")


class Pool:
    """A set of clients, one of which can be drawn at once, however many there are."""

    def __init__(self, clients: Sequence[Client] = ()) -> None:
        self.clients = list(clients)
        self.places = {client: place for place, client in enumerate(self.clients)}

    def add(self, client: Client) -> None:
        if client not in self.places:
            self.places[client] = len(self.clients)
            self.clients.append(client)

    def discard(self, client: Client) -> None:
        if client in self.places:
            place, last = self.places.pop(client), self.clients.pop()
            if last != client:
                self.clients[place] = last
                self.places[last] = place

    def draw(self, rng: random.Random) -> Client:
        return rng.choice(self.clients)

    def __contains__(self, client: Client) -> bool:
        return client in self.places

    def __len__(self) -> int:
        return len(self.clients)


class Piece(Struct, array_like=True):
    """A part of a snapshot."""


PieceTypes = UnionType | type[Piece]
"""One of these types, or a union of some."""


class PieceOfTopic(Piece, array_like=True):
    topic: str


class TopicPiece(PieceOfTopic, tag="topic", array_like=True, kw_only=True):
    """What there is to say of a topic, without its messages."""

    next_index: int
    subscribers: list[Client]
    evicted: int
    last_evicted: int


class MessagesPiece(PieceOfTopic, tag="messages", array_like=True):
    """Some messages of a topic: those for all are cached, those for one wait."""

    messages: list[Message]


class Tail(Sequence[Message]):
    """The messages of a list from `start` on, without a copy of them."""

    def __init__(self, messages: list[Message], start: int) -> None:
        self.messages = messages
        self.start = start

    def __len__(self) -> int:
        return len(self.messages) - self.start

    @overload
    def __getitem__(self, place: int) -> Message: ...
    @overload
    def __getitem__(self, place: slice) -> list[Message]: ...
    def __getitem__(self, place: int | slice) -> Message | list[Message]:
        return self.messages[self.start :][place]

    def __iter__(self) -> Iterator[Message]:
        return islice(self.messages, self.start, None)


class Topic:
    """What the broker knows of a topic."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.next_index = 0
        self.subscribers = Pool()
        self.cache: deque[Message] = deque()  # for all
        # The cache as the last replay found it, and by what to see that it still is like this.
        self.replayed: list[Message] = []
        self.replayed_at = 0, -1
        self.waiting: SortedDict[int, Message] = SortedDict()  # for one, by index
        self.evicted = 0  # how many messages the cache has lost
        self.last_evicted = -1

    def cached_after(self, index: int) -> Sequence[Message]:
        """The cached messages with a bigger index. Many may ask, and share one copy."""
        found = len(self.cache), self.cache[-1].index if self.cache else -1
        if self.replayed_at != found:
            self.replayed, self.replayed_at = list(self.cache), found
        return Tail(self.replayed, bisect_right(self.replayed, index, key=by_index))

    def missed_since(self, last_seen: int) -> int:
        """How many messages after that index the cache has evicted. Nothing up to `last_evicted`
        is cached any more: at most `evicted` messages are gone, and at most as many as there are
        indexes after `last_seen`. Exact if every message was cached once."""
        return max(0, min(self.evicted, self.last_evicted - last_seen))

    def trim(self, length: int) -> None:
        """Evict the oldest messages, of both kinds, while there are more than `length`."""
        while len(self.cache) + len(self.waiting) > length:
            if not self.cache or (self.waiting and self.waiting.keys()[0] < self.cache[0].index):
                oldest = self.waiting.popitem(0)[1]
            else:
                oldest = self.cache.popleft()
            self.evicted += 1
            self.last_evicted = oldest.index

    # The whole state

    def pieces(self) -> Iterator[Piece]:
        """A copy of the topic as it is now, to be taken in pieces: all is copied at once, but only
        by reference, and cut only when it is asked for."""
        messages = [*self.cache, *dict.values(self.waiting)]
        return chain([self.head()], (MessagesPiece(self.name, some) for some in cut(messages)))

    def clients(self) -> Iterable[Client]:
        """The clients that subscribe to this topic, or have work of it."""
        return self.subscribers.clients

    def head(self) -> TopicPiece:
        return TopicPiece(
            topic=self.name,
            next_index=self.next_index,
            subscribers=list(self.subscribers.clients),
            evicted=self.evicted,
            last_evicted=self.last_evicted,
        )

    def restore(self, piece: Piece) -> None:
        """Take in one of the pieces of such a copy."""
        if isinstance(piece, TopicPiece):
            self.next_index = piece.next_index
            self.subscribers = Pool(piece.subscribers)
            self.evicted = piece.evicted
            self.last_evicted = piece.last_evicted
        elif isinstance(piece, MessagesPiece):
            self.cache.extend(message for message in piece.messages if message.delivery == "all")
            self.waiting.update(
                {message.index: message for message in piece.messages if message.delivery == "one"}
            )


def cut(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Cut messages into pieces that are neither long nor large."""
    some: list[Message] = []
    size = 0
    for message in messages:
        some.append(message)
        size += len(message.msg)
        if len(some) == PIECE or size > PIECE_SIZE:
            yield some
            some, size = [], 0
    if some:
        yield some
