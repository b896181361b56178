"""Random clients against a small model of the rules."""

import asyncio
from collections import defaultdict, deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule
from peer import Peer, only_error

from stages import disconnects, serve
from stages.beyond import acks

CACHE_LENGTH = 3  # small, so that messages are dropped, too


Message = tuple[int, int, str]  # index, msg, delivery


@dataclass
class Topic:
    """What the rules say a topic is."""

    subscribers: list[Peer] = field(default_factory=list)
    cache: deque[Message] = field(default_factory=lambda: deque(maxlen=CACHE_LENGTH))
    sent: int = 0


class Machine(RuleBasedStateMachine):
    """A server, and a runner for its event loop, for hypothesis knows no coroutines."""

    def serve(self, server: serve.Handler) -> None:
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.stack = AsyncExitStack()
        self.port = self.run(
            self.stack.enter_async_context(serve.listening(server, "127.0.0.1", 0))
        )

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()


class Queue(Machine):
    peers: Bundle[Peer] = Bundle("peers")

    @initialize()
    def start(self) -> None:
        self.serve(disconnects.Server(cache_length=CACHE_LENGTH))
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
        replay = [
            message
            for message in topic.cache
            if message[0] > (-1 if last_seen is None else last_seen)
        ]
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
            topic.subscribers = [
                subscriber for subscriber in topic.subscribers if subscriber is not peer
            ]
        self.nobody_else_heard_anything()

    def messages(self, heard: list[dict[str, Any]]) -> list[Message]:
        return [(message["index"], message["msg"], message["delivery"]) for message in heard]

    def nobody_else_heard_anything(self) -> None:
        for peer in self.everyone:
            assert self.run(peer.heard()) == []

    def teardown(self) -> None:
        for peer in self.everyone:
            peer.close()
        super().teardown()


@dataclass(eq=False)
class Worker:
    """A subscriber, and the indexes of what it holds unacknowledged."""

    peer: Peer
    prefetch: int | None = None  # None: it does not acknowledge
    subscribed: bool = False
    held: set[int] = field(default_factory=set)

    @property
    def has_room(self) -> bool:
        return self.prefetch is None or len(self.held) < self.prefetch


class Work(Machine):
    """Workers that die at every point: no job is lost, none is with two of them, none comes again
    once it is done."""

    workers: Bundle[Worker] = Bundle("workers")

    @initialize()
    def start(self) -> None:
        self.serve(acks.Server())
        self.boss = self.run(Peer.connect("127.0.0.1", self.port, speaks_json=True))
        self.everyone: list[Worker] = []
        self.waiting: set[int] = set()
        self.handed: set[int] = set()  # at least once
        self.sent = 0

    @rule(target=workers)
    def connect(self) -> Worker:
        self.everyone.append(
            Worker(self.run(Peer.connect("127.0.0.1", self.port, speaks_json=True)))
        )
        return self.everyone[-1]

    @rule(worker=workers, prefetch=st.sampled_from([None, 1, 2, 3]))
    def subscribe(self, worker: Worker, prefetch: int | None) -> None:
        fields = {} if prefetch is None else {"ack": True, "prefetch": prefetch}
        worker.prefetch, worker.subscribed = prefetch, True
        self.hand_over(worker, self.run(worker.peer.subscribe("jobs", **fields)))
        self.check()

    @rule(number=st.integers(1, 4))
    def send(self, number: int) -> None:
        for _ in range(number):
            self.waiting.add(self.sent)
            self.run(self.boss.send("jobs", str(self.sent), delivery="one"))
            self.sent += 1
            self.check()

    @rule(worker=workers, index=st.integers(0, 20))
    def ack(self, worker: Worker, index: int) -> None:
        index = min(worker.held, key=lambda held: abs(held - index)) if worker.held else index
        worker.peer.write_command(command="ack", topic="jobs", index=index)
        heard = self.run(worker.peer.heard())
        if index in worker.held:
            worker.held.remove(index)
        else:
            only_error(heard)
            heard = []
        self.hand_over(worker, heard)
        self.check()

    @rule(worker=consumes(workers), how=st.sampled_from(["quit", "end", "reset"]))
    def die(self, worker: Worker, how: str) -> None:
        if how == "reset":
            worker.peer.reset()
            for _ in range(3):  # the server learns of the reset before it reads what is sent later
                self.run(self.boss.settle())
        else:
            self.run(worker.peer.quit() if how == "quit" else worker.peer.end())
        worker.peer.close()
        self.everyone.remove(worker)
        self.waiting |= worker.held
        self.check()

    def hand_over(self, worker: Worker, heard: list[dict[str, Any]]) -> None:
        for message in heard:
            index = message["index"]
            assert message["msg"] == str(index)
            assert message.get("redelivered", False) == (index in self.handed)
            self.waiting.remove(index)
            self.handed.add(index)
            if worker.prefetch is not None:
                assert worker.has_room
                worker.held.add(index)

    def check(self) -> None:
        """Take in what has arrived; then nothing may wait that anybody could take."""
        for worker in self.everyone:
            self.hand_over(worker, self.run(worker.peer.heard()))
        assert not self.waiting or not any(
            worker.subscribed and worker.has_room for worker in self.everyone
        )

    def teardown(self) -> None:
        """In the end one heir gets all that is not done, in order."""
        for worker in self.everyone:
            self.run(worker.peer.quit())
            worker.peer.close()
            self.waiting |= worker.held
            self.everyone = [other for other in self.everyone if other is not worker]
            self.check()
        heir = self.run(Peer.connect("127.0.0.1", self.port, speaks_json=True))
        assert [message["index"] for message in self.run(heir.subscribe("jobs"))] == sorted(
            self.waiting
        )
        heir.close()
        self.boss.close()
        super().teardown()
