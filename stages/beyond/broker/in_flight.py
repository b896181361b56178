"""What a broker knows of a topic's work: who takes part in it, and which messages are in flight."""

import random
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import msgspec
from msgspec import Struct, field

from stages.beyond.broker import topic
from stages.beyond.broker.commands import Message
from stages.beyond.broker.topic import Client, MessagesPiece, Piece, PieceOfTopic, Pool

PREFETCH = 1000
"""How many messages a worker has in flight at most, unless it says so."""


DRAWS = 5
"""How often a worker is drawn at random before all are looked through."""

PIECE_IN_FLIGHT = 10
"""How many messages in flight a piece of a snapshot has: few, since they may be large."""


class Worker(Struct):
    """How a client takes part in a topic's work."""

    acknowledges: bool = False
    prefetch: int = PREFETCH
    after: int = -1  # it wants none of the waiting messages up to this index
    in_flight: dict[int, None] = field(default_factory=dict)  # what it has to acknowledge, by index

    @property
    def room(self) -> int:
        """How many messages more it may have."""
        return max(0, self.prefetch - len(self.in_flight)) if self.acknowledges else sys.maxsize


class InFlight(Struct, array_like=True, frozen=True, gc=False):  # see `commands.Command`
    """A message that a worker has to acknowledge, until the deadline."""

    message: Message
    client: Client
    deadline: float


class WorkPiece(PieceOfTopic, tag="work", array_like=True):
    """Who works on a topic."""

    workers: dict[Client, Worker]
    ready: list[Client]
    expired: dict[int, list[Client]]
    dispatch_from: int | None


class InFlightPiece(PieceOfTopic, tag="in flight", array_like=True):
    """Some of a topic's messages in flight."""

    messages: list[InFlight]


class Topic(topic.Topic):
    """A topic that has workers, and the rules about one topic's work."""

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

    # Who takes part

    def update_ready(self, client: Client) -> None:
        if client in self.subscribers and self.workers[client].room:
            self.ready.add(client)
        else:
            self.ready.discard(client)

    def leave(self, client: Client) -> None:
        self.subscribers.discard(client)
        self.ready.discard(client)

    def forget(self, client: Client) -> list[Message]:
        """Forget a client that is gone; returns what it had in flight."""
        for lost_by in self.expired.values():
            lost_by.pop(client, None)
        worker = self.workers.pop(client, Worker())
        return [self.in_flight.pop(index).message for index in worker.in_flight]

    def forget_all(self) -> list[Message]:
        """Forget all clients; returns what they had in flight."""
        self.ready, self.workers, self.alarmed = Pool(), {}, False
        messages = [each.message for each in self.in_flight.values()]
        self.in_flight.clear()
        self.expired.clear()
        return messages

    # What waits

    def enqueue(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.waiting[message.index] = message
            self.waiting_size += len(message.msg)

    def dequeue(self, index: int) -> Message:
        message: Message = self.waiting.pop(index)
        self.waiting_size -= len(message.msg)
        return message

    def trim(self, length: int) -> None:
        """Evict the oldest messages of the cache. What waits for a worker is never dropped."""
        too_many = len(self.cache) - length
        if too_many > 0:
            for _ in range(too_many):
                last = self.cache.popleft()
            self.evicted += too_many
            self.last_evicted = last.index

    # What is in flight

    def assign(self, message: Message, client: Client, deadline: float) -> None:
        """A client has a message: until it acknowledges it, or for good if it never does."""
        worker = self.workers[client]
        if worker.acknowledges:
            self.in_flight[message.index] = InFlight(message, client, deadline)
            worker.in_flight[message.index] = None
            self.update_ready(client)
        else:
            self.expired.pop(message.index, None)

    def release(self, index: int) -> Client:
        """Take a message out of the hands of its worker. Returns who that was."""
        client = self.in_flight.pop(index).client
        del self.workers[client].in_flight[index]
        self.update_ready(client)
        return client

    def may_acknowledge(self, index: int, client: Client) -> bool:
        """Whether a client has the message, or has had it: a late acknowledgement counts, since the
        work is done."""
        in_flight = self.in_flight.get(index)
        has_it = in_flight is not None and in_flight.client == client
        return has_it or client in self.expired.get(index, ())

    def expire(self, now: float, most: int) -> list[InFlight]:
        """Release what is overdue, of so many messages at most."""
        some = islice(self.in_flight.values(), most)
        overdue = [each for each in some if each.deadline <= now]
        for each in overdue:
            self.expired.setdefault(each.message.index, {})[each.client] = None
            self.release(each.message.index)
        return overdue

    # Who may have which message

    def wants(self, index: int, client: Client) -> bool:
        return index > self.workers[client].after

    def is_eligible(self, index: int, client: Client) -> bool:
        """Whether a client may have a message: one that it wants, and that it has not let expire,
        unless all subscribers have."""
        lost = client in self.expired.get(index, ()) and not self.all_have_lost(index)
        return self.wants(index, client) and not lost

    def all_have_lost(self, index: int) -> bool:
        lost_by = self.expired.get(index, {})
        return len(lost_by) >= len(self.subscribers) and all(
            client in lost_by for client in self.subscribers.clients
        )

    def draw(self, index: int, rng: random.Random) -> Client | None:
        """One of the workers that are ready and may have this message."""
        lost_by = self.expired.get(index, {})
        for _ in range(DRAWS):  # nearly always the first will do
            client = self.ready.draw(rng)
            if self.wants(index, client) and client not in lost_by:
                return client
        willing = [each for each in self.ready.clients if self.wants(index, each)]
        if not self.all_have_lost(index):
            willing = [each for each in willing if each not in lost_by]
        return rng.choice(willing) if willing else None

    # The whole state

    def clients(self) -> Iterable[Client]:
        return self.workers

    def pieces(self) -> Iterator[Piece]:
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
        return chain[Piece](super().pieces(), [work], pieces)

    def restore(self, piece: Piece) -> None:
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
