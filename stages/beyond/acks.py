"""A message handed to one worker is not lost when the worker dies.

    alice > {"command": "subscribe", "topic": "jobs", "ack": true, "prefetch": 1}
    alice < {"success": true}
    alice < {"command": "send", "topic": "jobs", "msg": "wash", "delivery": "one", "index": 0}
            alice breaks off
    bob   > {"command": "subscribe", "topic": "jobs", "ack": true}
    bob   < {"success": true}
    bob   < {"command": "send", "topic": "jobs", "msg": "wash", "delivery": "one", "index": 0, "redelivered": true}
    bob   > {"command": "ack", "topic": "jobs", "index": 0}
    bob   < {"success": true}

Source: as RabbitMQ (acknowledgements, prefetch) and NATS JetStream (ack wait) do it; AMQP 0-9-1 coined the words.
"""

import asyncio
import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType, ValidationError

from stages import serve, wire
from stages.beyond import open_files, replies, slow_consumers

by_index = itemgetter("index")


class Subscribe(replies.Subscribe, tag="subscribe"):
    ack: bool = False
    prefetch: Annotated[int, Meta(ge=1)] | UnsetType = UNSET


class Ack(replies.Command, tag="ack"):
    index: int


@dataclass
class Share:
    """What a client takes of a topic's work: how it subscribed, and what it holds unacknowledged, by index."""

    subscription: wire.Command
    held: dict[int, tuple[wire.Command, asyncio.TimerHandle]] = field(default_factory=dict)

    @property
    def acknowledges(self) -> bool:
        return bool(self.subscription.get("ack", False))

    @property
    def has_room(self) -> bool:
        return not self.acknowledges or len(self.held) < self.subscription.get("prefetch", math.inf)


class Server(slow_consumers.Server):
    """A queue that keeps a `one` message until the worker says that it is done, for at most `ack_timeout` seconds."""

    schema = Subscribe | replies.Unsubscribe | replies.Send | Ack

    def __init__(self, *, ack_timeout: float = 30.0, **earlier: Any) -> None:
        super().__init__(**earlier)
        if not ack_timeout > 0:
            raise ValueError(f"ack_timeout must be a number of seconds, more than 0: got {ack_timeout}")
        self.ack_timeout = ack_timeout
        self.shares: dict[wire.Client, dict[str, Share]] = {}
        # Work that came back and waits: beside the cache, for its length must not push this out.
        self.returned: dict[str, list[wire.Command]] = {}

    def check(self, command: wire.Command) -> None:
        super().check(command)
        if "prefetch" in command and not command.get("ack"):
            raise ValidationError("`prefetch` counts unacknowledged messages: expected `ack`: true with it")

    def subscribe(self, command: wire.Command, client: wire.Client) -> None:
        share = self.shares.setdefault(client, {}).setdefault(command["topic"], Share(command))
        # Whatever is sent from now on is news, also to one that wants no cache, or has seen more than there is.
        newest = self.indexes.get(command["topic"], 0) - 1
        last_seen = min(newest, command.get("last_seen", -1)) if command.get("cache", True) else newest
        share.subscription = {**command, "last_seen": last_seen}
        super().subscribe(command, client)

    def unsubscribe(self, command: wire.Command, client: wire.Client) -> None:
        """End the subscription; what the client holds it may still finish, and acknowledge."""
        super().unsubscribe(command, client)
        self.forget_if_done(command["topic"], client)

    def takers(self, command: wire.Command) -> list[wire.Client]:
        """Among whom to draw lots for a `one` message: those who are not working on as many as they want."""
        topic = command["topic"]
        return [client for client in super().takers(command) if self.shares[client][topic].has_room]

    def news(self, command: wire.Command, client: wire.Client) -> Iterable[wire.Command]:
        """What a subscriber needs of the cache and of the work that came back, as long as it has room."""
        share = self.shares[client][command["topic"]]
        returned = list(self.returned.get(command["topic"], ()))
        for message in heapq.merge(returned, super().news(command, client), key=by_index):
            if message["delivery"] == "all" or share.has_room:
                yield message

    def deliver(self, message: wire.Command, recipients: Collection[wire.Client]) -> None:
        super().deliver(message, recipients)
        if message["delivery"] == "one":
            for client in recipients:
                if self.shares[client][message["topic"]].acknowledges:
                    self.hold(message, client)

    def hold(self, message: wire.Command, client: wire.Client) -> None:
        """Keep a message that a worker has been handed, until it acknowledges it."""
        topic, index = message["topic"], message["index"]
        timer = asyncio.get_running_loop().call_later(self.ack_timeout, self.expire, topic, index, client)
        self.shares[client][topic].held[index] = message, timer

    def release(self, topic: str, index: int, client: wire.Client) -> wire.Command:
        """Take from a worker what it holds."""
        message, timer = self.shares[client][topic].held.pop(index)
        timer.cancel()
        return message

    def ack(self, command: wire.Command, client: wire.Client) -> None:
        """Forget a message whose work is done, and give the worker the next."""
        topic, index = command["topic"], command["index"]
        share = self.shares.get(client, {}).get(topic)
        if not share or index not in share.held:
            detail = f"message {index} of this topic is not with you, or no longer"
            return self.answer(client, command, success=False, reason="Nothing to acknowledge", detail=detail)
        self.release(topic, index, client)
        self.answer(client, command, success=True)
        self.hand_out(topic, client)
        self.forget_if_done(topic, client)

    def hand_out(self, topic: str, client: wire.Client) -> None:
        """Give a worker the work that waits, as long as it has room."""
        if client not in self.topics.get(topic, {}) or not self.shares[client][topic].has_room:
            return
        share = self.shares[client][topic]
        for message in self.news(share.subscription, client):
            if message["delivery"] == "one":
                self.drop(message)
                self.deliver(message, [client])
                if not share.has_room:
                    break  # `news` would look through all the rest in vain

    def expire(self, topic: str, index: int, client: wire.Client) -> None:
        """Hand out again what a worker has held for too long."""
        self.redeliver(self.release(topic, index, client), client)
        self.hand_out(topic, client)
        self.forget_if_done(topic, client)

    def disconnect(self, client: wire.Client) -> None:
        super().disconnect(client)
        held = [(topic, index) for topic, share in self.shares.get(client, {}).items() for index in share.held]
        messages = [self.release(topic, index, client) for topic, index in sorted(held)]
        self.shares.pop(client, None)
        for message in messages:
            self.redeliver(message, client)

    def redeliver(self, message: wire.Command, loser: wire.Client) -> None:
        """Hand a message to another subscriber, if there is none to the one that lost it, or else let it wait."""
        message["redelivered"] = True
        takers = self.takers(message)
        others = [client for client in takers if client is not loser]
        if takers:
            self.deliver(message, [self.random.choice(others or takers)])
        else:
            self.keep(message)

    def keep(self, message: wire.Command) -> None:
        if "redelivered" in message:
            insort(self.returned.setdefault(message["topic"], []), message, key=by_index)
        else:
            super().keep(message)

    def drop(self, message: wire.Command) -> None:
        kept = (self.returned if "redelivered" in message else self.caches)[message["topic"]]
        del kept[bisect_left(kept, message["index"], key=by_index)]

    def forget_if_done(self, topic: str, client: wire.Client) -> None:
        """Forget the share of a client that has left the topic and holds nothing of it any more."""
        share = self.shares.get(client, {}).get(topic)
        if share and not share.held and client not in self.topics.get(topic, {}):
            del self.shares[client][topic]


if __name__ == "__main__":
    open_files.allow_many()
    serve.main(Server)
