"""What a broker knows of a topic's work: who takes part in it, and which messages are in flight."""

import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct

from stages.beyond.broker import topic
from stages.beyond.broker.commands import Message
from stages.beyond.broker.topic import Client, MessagesPiece, Pool

PREFETCH = 1000
"""How many messages a worker has in flight at most, unless it says so."""


PIECE_IN_FLIGHT = 10
"""How many messages in flight a piece of a snapshot has: few, since they may be large."""


class Worker(Struct):
    """How a client takes part in a topic's work."""

    acknowledges: bool = False
    prefetch: int = PREFETCH
    after: int = -1  # it wants none of the waiting messages up to this index
    in_flight: dict[int, None] = {}  # what it has to acknowledge, by index

    @property
    def room(self) -> int:
        """How many messages more it may have."""
        return max(0, self.prefetch - len(self.in_flight)) if self.acknowledges else sys.maxsize


class InFlight(Struct, array_like=True, frozen=True, gc=False):
    """A message that a worker has to acknowledge, until the deadline."""

    message: Message
    client: Client
    deadline: float


class WorkPiece(Struct, tag="work", array_like=True):
    """The part of a snapshot that tells who works on a topic."""

    topic: str
    workers: dict[Client, Worker]
    ready: list[Client]
    expired: dict[int, list[Client]]
    dispatch_from: int | None


class InFlightPiece(Struct, tag="in flight", array_like=True):
    """The part of a snapshot with some of a topic's messages in flight."""

    topic: str
    messages: list[InFlight]


class Topic(topic.Topic):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.workers: dict[Client, Worker] = {}
        self.ready = Pool()  # those subscribed that have room
        self.in_flight: OrderedDict[int, InFlight] = OrderedDict()  # the earliest deadline first
        # The clients that let a message expire, by index; one of them may still finish it.
        self.expired: dict[int, dict[Client, None]] = {}
        self.waiting_size = 0  # of the texts that wait, in characters
        self.alarmed = False  # whether the broker has an alarm for it
        # Where dispatch goes on; None: no waiting message has an eligible worker that is ready.
        self.dispatch_from: int | None = None

    def clients(self) -> Iterable[Client]:
        return self.workers

    def pieces(self) -> Iterator[Any]:
        workers = {
            client: msgspec.structs.replace(worker, in_flight={})
            for client, worker in self.workers.items()
        }
        expired = {index: list(clients) for index, clients in self.expired.items()}
        ready = list(self.ready.clients)
        work = WorkPiece(self.name, workers, ready, expired, self.dispatch_from)
        in_flight = list(self.in_flight.values())
        pieces = (
            InFlightPiece(self.name, in_flight[start : start + PIECE_IN_FLIGHT])
            for start in range(0, len(in_flight), PIECE_IN_FLIGHT)
        )
        return chain(super().pieces(), [work], pieces)

    def restore(self, piece: Any) -> None:
        super().restore(piece)
        if isinstance(piece, MessagesPiece):
            self.waiting_size += sum(
                len(message.msg) for message in piece.messages if message.delivery == "one"
            )
        elif isinstance(piece, WorkPiece):
            self.workers, self.ready = piece.workers, Pool(piece.ready)
            self.expired = {index: dict.fromkeys(each) for index, each in piece.expired.items()}
            self.dispatch_from = piece.dispatch_from
        elif isinstance(piece, InFlightPiece):
            for each in piece.messages:
                self.in_flight[each.message.index] = each
                self.workers[each.client].in_flight[each.message.index] = None
