"""When messages that wait are handed to workers: as far as the budget of a batch allows.

A topic may have many messages that wait, and few workers that may have them. To look at all of
them at once would hold up everybody: so a batch looks at `SLICE` of them, and the next one goes
on where it stopped.

Source: the time slices of any scheduler, counted in messages, since a broker has no clock.
"""

import heapq
import random
from collections.abc import Iterator
from itertools import islice

from stages.beyond.broker.commands import Message
from stages.beyond.broker.in_flight import Topic
from stages.beyond.broker.topic import Client

SLICE = 1000
"""How many waiting messages are looked at in a batch, and how many expire: the rest waits for the
next batch. (A log is carried out again with this: see `FORMAT`.)"""


class Dispatcher:
    """Which topics have messages that a worker might take, and how many this batch may look at."""

    def __init__(self) -> None:
        self.pending: set[str] = set()
        self.budget = SLICE

    def later(self, topic: Topic, index: int) -> None:
        """Go on with a topic when it is its turn, from this message on at the latest."""
        first = index if topic.dispatch_from is None else topic.dispatch_from
        topic.dispatch_from = min(index, first)
        self.pending.add(topic.name)

    def take(self, topic: Topic, client: Client, after: int) -> list[Message]:
        """The waiting messages that a worker has room for, lowest index first."""
        room, indexes = topic.workers[client].room, list[int]()
        for index in topic.waiting.irange(minimum=after + 1):
            if len(indexes) == room:
                break
            if self.budget == 0:
                self.later(topic, index)
                break
            self.budget -= 1
            if topic.is_eligible(index, client):
                indexes.append(index)
        return [topic.dequeue(index) for index in indexes]

    def hand_out(self, topic: Topic, rng: random.Random) -> Iterator[tuple[Message, Client]]:
        """Yield waiting messages, each with a worker that is ready for it. You must assign one
        before you ask for the next."""
        waiting = topic.waiting.irange(minimum=topic.dispatch_from)
        for index in list(islice(waiting, self.budget + 1)):
            if not topic.ready:
                break
            if self.budget == 0:
                topic.dispatch_from = index
                return
            self.budget -= 1
            client = topic.draw(index, rng)
            if client is not None:
                yield topic.dequeue(index), client
        topic.dispatch_from = None
        self.pending.remove(topic.name)


class Alarms:
    """When messages in flight are overdue: none of a topic before its alarm."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, str]] = []

    def set(self, topic: Topic) -> None:
        """See that a topic has an alarm, if something of it is in flight."""
        if topic.in_flight and not topic.alarmed:
            topic.alarmed = True
            first = next(iter(topic.in_flight.values()))
            heapq.heappush(self.heap, (first.deadline, topic.name))

    def ring(self, now: float) -> list[str]:
        """The topics whose alarms are over."""
        ringing = set()
        while self.heap and self.heap[0][0] <= now:
            ringing.add(heapq.heappop(self.heap)[1])
        return sorted(ringing)
