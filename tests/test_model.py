"""Random clients against a small model of the rules: nothing lost, nothing doubled, nothing out of order."""

import asyncio
from collections import defaultdict, deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule
from peer import Peer

from stages import disconnects, serve

CACHE_LENGTH = 3  # small, so that messages are dropped, too

Message = tuple[int, int, str]  # index, msg, delivery


@dataclass
class Topic:
    """What the rules say a topic is."""

    subscribers: list[Peer] = field(default_factory=list)
    cache: deque[Message] = field(default_factory=lambda: deque(maxlen=CACHE_LENGTH))
    sent: int = 0


class Queue(RuleBasedStateMachine):
    peers: Bundle[Peer] = Bundle("peers")

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.stack = AsyncExitStack()
        server = disconnects.Server(cache_length=CACHE_LENGTH)
        self.port = self.run(self.stack.enter_async_context(serve.listening(server, "127.0.0.1", 0)))
        self.everyone: list[Peer] = []
        self.topics: dict[str, Topic] = defaultdict(Topic)

    @rule(target=peers)
    def connect(self) -> Peer:
        peer = self.run(Peer.connect("127.0.0.1", self.port))
        self.everyone.append(peer)
        return peer

    @rule(peer=peers, name=st.sampled_from("ab"), last_seen=st.none() | st.integers(-1, 6))
    def subscribe(self, peer: Peer, name: str, last_seen: int | None) -> None:
        topic = self.topics[name]
        fields: dict[str, Any] = {} if last_seen is None else {"last_seen": last_seen}
        heard = self.run(peer.subscribe(name, **fields))
        replay = [message for message in topic.cache if message[0] > (-1 if last_seen is None else last_seen)]
        assert self.messages(heard) == replay
        for message in replay:
            if message[2] == "one":
                topic.cache.remove(message)
        if peer not in topic.subscribers:
            topic.subscribers.append(peer)
        self.nobody_else_heard_anything()

    @rule(peer=peers, name=st.sampled_from("ab"), delivery=st.sampled_from(["all", "one"]))
    def send(self, peer: Peer, name: str, delivery: str) -> None:
        topic = self.topics[name]
        message = (topic.sent, topic.sent, delivery)
        self.run(peer.send(name, topic.sent, delivery=delivery))
        topic.sent += 1
        arrived = {p: self.messages(self.run(p.heard())) for p in self.everyone}
        assert all(messages in ([], [message]) for messages in arrived.values())
        heard = [p for p, messages in arrived.items() if messages]
        if delivery == "all":
            assert sorted(map(id, heard)) == sorted(map(id, topic.subscribers))
        elif topic.subscribers:
            assert len(heard) == 1
            assert heard[0] in topic.subscribers
        else:
            assert heard == []
        if delivery == "all" or not topic.subscribers:
            topic.cache.append(message)
        self.nobody_else_heard_anything()

    @rule(peer=consumes(peers), how=st.sampled_from(["quit", "end", "reset"]))
    def disconnect(self, peer: Peer, how: str) -> None:
        if how == "reset":
            peer.reset()
            witness = self.run(Peer.connect("127.0.0.1", self.port))
            for _ in range(3):  # the server learns of the reset before it reads what is sent later
                self.run(witness.settle())
            self.run(witness.quit())
            witness.close()
        else:
            assert self.run(peer.quit() if how == "quit" else peer.end()) == []
        peer.close()
        self.everyone.remove(peer)
        for topic in self.topics.values():
            topic.subscribers = [subscriber for subscriber in topic.subscribers if subscriber is not peer]
        self.nobody_else_heard_anything()

    def messages(self, heard: list[dict[str, Any]]) -> list[Message]:
        return [(message["index"], message["msg"], message["delivery"]) for message in heard]

    def nobody_else_heard_anything(self) -> None:
        for peer in self.everyone:
            assert self.run(peer.heard()) == []

    def teardown(self) -> None:
        for peer in self.everyone:
            peer.close()
        self.run(self.stack.aclose())
        self.runner.close()


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=10, stateful_step_count=25, deadline=None)
