"""What a broker knows of a topic: who subscribes, and which messages are kept."""

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar

from msgspec import Struct
from sortedcontainers import SortedDict

from stages.beyond.commands import Message

Client = int
"""The number of a connection; none is given twice."""

PIECE = 1000
"""How many messages a piece of a snapshot has at most."""

T = TypeVar("T")

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


class TopicPiece(Struct, tag="topic", array_like=True, kw_only=True):
    """The part of a snapshot that tells of a topic, without its messages."""

    topic: str
    next_index: int
    subscribers: list[Client]
    evicted: int
    last_evicted: int


class MessagesPiece(Struct, tag="messages", array_like=True):
    """The part of a snapshot with some messages of a topic: those for all are cached, those for one
    wait."""

    topic: str
    messages: list[Message]


class Topic:
    """What the broker knows of a topic."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.next_index = 0
        self.subscribers = Pool()
        self.cache: deque[Message] = deque()  # for all
        self.waiting: SortedDict[int, Message] = SortedDict()  # for one, by index
        self.evicted = 0  # how many messages the cache has lost
        self.last_evicted = -1

    def cached_after(self, index: int) -> list[Message]:
        return list(islice(self.cache, bisect_right(self.cache, index, key=by_index), None))

    def pieces(self) -> list[Any]:
        """A copy of the topic, in pieces that do not change any more."""
        messages = [*self.cache, *self.waiting.values()]
        return [self.head(), *[MessagesPiece(self.name, some) for some in in_pieces(messages)]]

    def clients(self) -> Iterable[Client]:
        """Who has to do with this topic."""
        return self.subscribers.clients

    def head(self) -> TopicPiece:
        return TopicPiece(
            topic=self.name,
            next_index=self.next_index,
            subscribers=list(self.subscribers.clients),
            evicted=self.evicted,
            last_evicted=self.last_evicted,
        )

    def restore(self, piece: Any) -> None:
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


def in_pieces(entries: list[T]) -> Iterator[list[T]]:
    return (entries[start : start + PIECE] for start in range(0, len(entries), PIECE))
