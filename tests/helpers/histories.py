"""Clients, server, log, network and clock in one thread, all from one seed: what was promised holds
after every history.

    $ python tests/helpers/histories.py 20000

A history is a plan, a list of things to do, played on a network that has a seed, too. One that
fails is shortened: the seed and what is left of the plan are printed.

Source: the testing by simulation of FoundationDB and TigerBeetle; Zeller's delta debugging.
"""

import asyncio
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from simulated import Disk, Link, Loop

import stages.beyond.broker.topic
from stages import serve
from stages.beyond import acks, broker, durable, fast
from stages.beyond.broker import Batch, Outgoing, commands
from stages.beyond.log import file as log
from stages.beyond.log import journal
from stages.beyond.log.journal import Journal
from stages.beyond.server.connection import Connection
from stages.beyond.server.sequencer import Outlet

TOPICS = {"news": {}, "more news": {}, "jobs": {"ack": True}, "more jobs": {"ack": True}}


CLIENTS = 4


HIGH_WATER = 300


Action = tuple[Any, ...]


Message = dict[str, Any]


def plan(rng: random.Random) -> list[Action]:
    """What happens in a history: who does what, and how long nothing else is done."""
    return [
        (*action(rng), rng.choice([0, 0, 0.001, 0.01, 0.2, 1.5])) for _ in range(rng.randint(5, 60))
    ]


def action(rng: random.Random) -> Action:
    who, topic = rng.randrange(CLIENTS), rng.choice(list(TOPICS))
    match rng.choices(
        [
            "subscribe",
            "send",
            "ack",
            "unsubscribe",
            "leave",
            "read",
            "say",
            "crash",
            "stop",
            "fail",
        ],
        [6, 12, 8, 1, 3, 2, 1, 2, 1, 0.3],
    )[0]:
        case "subscribe":
            return "subscribe", who, topic, {"prefetch": who} if "jobs" in topic and who > 0 else {}
        case "send":
            return "send", who, topic, rng.randint(1, 5), rng.choice([1, 1, 1, 100])
        case "ack":
            return "ack", who, rng.random(), rng.randint(1, 3)
        case "unsubscribe":
            return "unsubscribe", who, topic
        case "leave":
            return "leave", who, rng.choice(["quit", "end", "cut", "cut"])
        case "read":
            return "read", who, rng.random() < 0.6
        case "say":
            return (
                "say",
                who,
                rng.choice(
                    ["hello", '{"command": "send"', '{"command": "send"}', "\udcff", "", "[]"]
                ),
            )
        case "crash":
            return "crash", rng.choice(["now", "before commit", "after commit"]), rng.randint(0, 6)
        case other:
            return (other,)


class Simulated:
    """A server whose journal is given a simulated disk, and an outlet that checks what goes out. A
    second broker is given what the log has, and must be the same after each start."""

    def __init__(self, world: "World", kind: type[durable.Server] | type[fast.Server]) -> None:
        self.world = world
        self.server = kind(
            data="simulated",
            seed=world.rng.randrange(100),
            cache_length=1000,
            high_water=HIGH_WATER,
            ack_timeout=world.rng.choice([1.0, 60.0]),
            log_limit=world.rng.choice([300, 3000]),
        )
        self.outlet: Outlet = self.server
        self.longest = 400  # a line
        if isinstance(self.server, fast.Server):
            self.outlet, self.longest = fast.OneWrite(self.server), 4000  # or a batch
        self.server.sequencer = self.journal = Journal(
            self.server.broker,
            world.disk.log(),
            self,
            log_limit=self.server.log_limit,
            time=self.server.time,
            in_thread=self.in_thread,
        )

    async def start(self) -> None:
        await self.server.__aenter__()
        self.journal.duties.server = None  # if it fails, the world goes on
        assert state_of(self.server.broker) == state_of(self.world.shadow)

    @property
    def failed(self) -> bool:
        return self.journal.duties.problem is not None

    async def in_thread(self, append: Callable[..., None], batch: Batch | None, *rest: Any) -> None:
        """Write to the disk, which takes its time."""
        await self.world.point("before commit", self)
        if self.world.disk_fails:
            raise OSError("disk I/O error")
        append(batch, *rest)
        if batch:
            self.world.shadow.carry_out(batch)
            if self.world.rng.random() < 0.1:
                assert state_of(self.server.broker) == state_of(self.world.shadow)
                self.world.shadow = restored(self.world.shadow)
        await self.world.point("after commit", self)

    def send(self, outgoing: Outgoing) -> None:
        check_rules(self.server.broker)
        for message in [
            each for _, what in outgoing for each in what if isinstance(each, commands.Message)
        ]:
            if message.delivery == "one":
                name = message.topic, message.index
                assert message.redelivered or name not in self.world.handed_over, (
                    "work comes again, and does not say so"
                )
                self.world.handed_over.add(name)
        self.outlet.send(outgoing)
        for outbox in self.server.outboxes.values():
            assert outbox.connection.size <= HIGH_WATER + self.longest, (
                "more than one line, or one batch, above the high-water mark"
            )

    def dismiss(self, reason: str) -> None:
        if not self.world.disk_fails:
            self.world.problem = self.world.problem or AssertionError("a server has failed")
        self.server.dismiss(reason)


def state_of(of: broker.Broker[Any]) -> list[Any]:
    """The whole state, but for the order in which messages are stored; a snapshot that is under way is not disturbed."""
    state: list[Any] = [broker.BrokerPiece(of.now, of.rules, of.random.getstate())]
    for each in of.topics.values():
        parts = [piece for piece in each.pieces() if not hasattr(piece, "messages")]
        in_flight = [*each.in_flight.values()]
        state += [*parts, [*each.cache], sorted(each.waiting.items()), in_flight]
    return sorted(map(msgspec.to_builtins, state), key=repr)


def restored(broker: acks.Broker) -> acks.Broker:
    """Another broker, made from a snapshot of this one."""
    copy = acks.Broker()
    for piece in broker.snapshot():
        copy.restore(*log.decode(b"[%s]" % log.encode(piece), copy.pieces))
    return copy


def check_rules(broker: Any) -> None:
    """What must be so after every batch."""
    for topic in broker.topics.values():
        assert not set(topic.waiting) & set(topic.in_flight), "a message waits, and is in flight"
        held = [
            (index, client)
            for client, worker in topic.workers.items()
            for index in worker.in_flight
        ]
        assert sorted(held) == sorted(
            (index, each.client) for index, each in topic.in_flight.items()
        )
        assert topic.waiting_size == sum(len(message.msg) for message in topic.waiting.values())
        assert set(topic.expired) <= set(topic.waiting) | set(topic.in_flight)
        for client, worker in topic.workers.items():
            assert len(worker.in_flight) <= worker.prefetch, "more than its prefetch is in flight"
            assert (client in topic.ready) == (client in topic.subscribers and worker.room > 0)
            assert client in topic.subscribers or worker.in_flight, (
                "somebody is remembered for nothing"
            )
        if topic.dispatch_from is None:
            for client in topic.ready.clients:
                after = topic.workers[client].after
                idle = [n for n in topic.waiting if n > after and topic.is_eligible(n, client)]
                assert not idle, "a message waits though a worker has room"


class Client:
    """Says what the plan wants, and notes what it hears."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.link: Link | None = None
        self.rest = b""
        self.sessions: dict[str, Session] = {}

    def connect(self) -> Link | None:
        if not self.link or self.link.lost:
            if self.link:
                self.link.cut()  # what may still come on it is of another life
            self.link = None
            if self.world.server and not self.world.server.failed:
                self.rest = b""
                self.asked: dict[int, Message] = {}
                self.sessions = {}
                self.unacknowledged: list[Message] = []
                self.link = self.world.connect(self.receive)
        return self.link

    def ask(self, **command: Any) -> None:
        if link := self.connect():
            number = next(self.world.numbers)
            self.asked[number] = command
            link.say(json.dumps({**command, "id": number}).encode() + b"\n")

    def receive(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        for line in map(json.loads, lines):
            assert "error" not in line, line["error"]
            if "command" in line:
                self.take(line)
            elif line.get("id") in self.asked:
                self.answered(self.asked.pop(line["id"]), line)

    def take(self, message: Message) -> None:
        topic, index = message["topic"], message["index"]
        self.world.see(message)
        assert topic in self.sessions, f"a message of {topic}, which was not subscribed to"
        if message["delivery"] == "all":
            self.sessions[topic].indexes.append(index)
        else:
            self.world.not_after_ack(message)
            self.unacknowledged.append(message)

    def answered(self, command: Message, answer: Message) -> None:
        if command["command"] == "subscribe":
            self.sessions[command["topic"]] = self.world.begin_session(
                self, command["topic"], command["last_seen"]
            )
        elif command["command"] == "unsubscribe":
            self.sessions[command["topic"]].live = False
        elif command["command"] == "send" and answer["success"]:
            self.world.stored[command["delivery"]].add(command["msg"])
        elif command["command"] == "ack" and answer["success"]:
            self.world.done[command["topic"], command["index"]] = self.world.life


class Session:
    """A subscription: the index it began after, and those that have come."""

    def __init__(self, client: Client, topic: str, last_seen: int) -> None:
        self.client = client
        self.link = client.link
        self.topic = topic
        self.last_seen = last_seen
        self.indexes: list[int] = []
        self.live = True


class World:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.kind: Any = self.rng.choice([durable.Server, fast.Server])
        self.numbers = iter(range(10**9))
        self.disk = Disk()
        self.shadow = acks.Broker()
        self.server: Simulated | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.links: list[Link] = []
        self.life = 0
        self.disk_fails = False
        self.problem: Exception | None = None
        self.crash_at: tuple[str, int] | None = None
        self.clients = [Client(self) for _ in range(CLIENTS)]
        self.sessions: list[Session] = []
        self.texts: dict[tuple[str, int], str] = {}  # by topic and index
        self.stored: dict[str, set[str]] = defaultdict(
            set
        )  # by delivery: what was answered with success
        self.done: dict[
            tuple[str, int], int
        ] = {}  # in which life an acknowledgement was answered with success
        self.perhaps_done: set[tuple[str, int]] = set()
        self.handed_over: set[tuple[str, int]] = set()

    # What the clients need

    def connect(self, receive: Callable[[bytes], None]) -> Link:
        assert self.server
        link = Link(self.rng, receive, window=200)
        self.links.append(link)
        task = asyncio.create_task(
            serve.serve_client(self.server.server, link.reader, Connection(link.writer))
        )
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return link

    def begin_session(self, client: Client, topic: str, last_seen: int) -> Session:
        self.sessions.append(Session(client, topic, last_seen))
        return self.sessions[-1]

    def see(self, message: Message) -> None:
        name = message["topic"], message["index"]
        assert self.texts.setdefault(name, message["msg"]) == message["msg"], (
            "an index is used twice"
        )

    def not_after_ack(self, message: Message) -> None:
        name = message["topic"], message["index"]
        assert self.done.get(name, self.life) == self.life, (
            "what was acknowledged comes again after a restart"
        )

    # What the server goes through

    async def start(self) -> None:
        self.life += 1
        self.server = Simulated(self, self.kind)
        await self.server.start()

    async def point(self, where: str, server: Simulated) -> None:
        """A moment in the life of a server at which its process may die."""
        await asyncio.sleep(self.rng.random() * 0.005)
        if self.server is not server:
            await asyncio.Event().wait()  # it is dead
        if self.crash_at and self.crash_at[0] == where:
            self.crash_at = (where, self.crash_at[1] - 1)
            if self.crash_at[1] < 0:
                self.kill()
                await asyncio.Event().wait()

    def kill(self) -> None:
        """The process dies: nothing more is written, neither to the network nor to the disk."""
        self.server, self.crash_at = None, None
        for link in self.links:
            link.die()
        self.links.clear()

    async def restart(self) -> None:
        self.disk_fails = False
        self.kill()
        for task in asyncio.all_tasks() - {
            asyncio.current_task()
        }:  # as it would be with the process
            task.cancel()
        await asyncio.sleep(0.1)
        await self.start()

    async def stop(self) -> None:
        """As at Ctrl-C."""
        assert self.server
        for task in self.tasks:
            task.cancel()
        for link in self.links:
            link.abort()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.server.__aexit__()
        self.links.clear()

    # The plan

    async def play(self, actions: list[Action]) -> None:
        await self.start()
        for *action, pause in actions:
            await self.do(*action)
            await asyncio.sleep(pause)
            if self.server is None:
                await self.restart()
        await self.finish()

    async def do(self, what: str, *how: Any) -> None:
        if what in ("crash", "stop", "fail"):
            await self.trouble(what, *how)
            return
        client = self.clients[how[0]]
        match what, how[1:]:
            case "subscribe", (topic, fields):
                seen = max(
                    (
                        i
                        for s in self.sessions
                        if s.client is client and s.topic == topic
                        for i in s.indexes
                    ),
                    default=-1,
                )
                client.ask(
                    command="subscribe", topic=topic, last_seen=seen, **TOPICS[topic], **fields
                )
            case "send", (topic, number, length):
                for _ in range(number):
                    text = f"{next(self.numbers)} ".ljust(length, "x")
                    client.ask(
                        command="send",
                        topic=topic,
                        msg=text,
                        delivery="one" if "jobs" in topic else "all",
                    )
            case "ack", (luck, number):
                for _ in range(number):
                    if client.connect() and client.unacknowledged:
                        message = client.unacknowledged.pop(int(luck * len(client.unacknowledged)))
                        self.perhaps_done.add((message["topic"], message["index"]))
                        client.ask(command="ack", topic=message["topic"], index=message["index"])
            case "unsubscribe", (topic,):
                if client.link and not client.link.lost and topic in client.sessions:
                    client.ask(command="unsubscribe", topic=topic)
            case "say", (line,):
                if link := client.connect():
                    link.say(f"{line}\n".encode(errors="surrogateescape"))
            case "read", (reads,):
                if client.link:
                    client.link.read(reads)
            case "leave", (way,):
                if client.link and not client.link.lost:
                    {"quit": lambda link: link.say(b"quit\n"), "end": Link.end, "cut": Link.cut}[
                        way
                    ](client.link)

    async def trouble(self, what: str, *how: Any) -> None:
        match what, how:
            case "crash", ("now", _):
                self.kill()
            case "crash", (where, number):
                self.crash_at = where, number
            case "stop", ():
                self.crash_at = None
                if self.server and not self.disk_fails:
                    await self.stop()
                    await self.start()
            case "fail", ():
                self.disk_fails = True

    # The promises

    async def finish(self) -> None:
        """Let everybody read; see that those who still subscribe have everything, and that the
        heirs get the rest."""
        self.crash_at = None
        if self.disk_fails or not self.server or self.server.failed:
            await self.restart()
        for client in self.clients:
            if client.link:
                client.link.read(True)
        await asyncio.sleep(5)
        live = [
            s
            for s in self.sessions
            if s.live and s.link and not s.link.is_closing() and s.client.sessions.get(s.topic) is s
        ]
        for client in self.clients:
            if client.link and not client.link.lost:
                client.link.end()
        await asyncio.sleep(5)
        await self.check(live, await self.inherit())
        await self.stop()

    async def inherit(self) -> dict[str, list[Message]]:
        """All that is left, as somebody who comes last gets it."""
        assert self.server
        # Nothing comes twice, however long the heir takes.
        for each in (self.server.server.broker, self.shadow):
            each.rules = msgspec.structs.replace(each.rules, ack_timeout=10**6)
        heir = Client(self)
        for topic, fields in TOPICS.items():
            heir.ask(command="subscribe", topic=topic, last_seen=-1, **fields)
        left: dict[str, list[Message]] = {topic: [] for topic in TOPICS}
        heir.take = lambda message: left[message["topic"]].append(message)  # type: ignore[method-assign]
        await asyncio.sleep(5)
        assert set(heir.sessions) == set(TOPICS), "the server does not answer"
        return left

    async def check(self, live: list[Session], left: dict[str, list[Message]]) -> None:
        for topic, messages in left.items():
            indexes = [message["index"] for message in messages]
            assert indexes == sorted(set(indexes)), (
                f"{topic} is out of order, or doubled: {indexes}"
            )
            for message in messages:
                self.see(message)
                assert (topic, message["index"]) not in self.done, (
                    "what was acknowledged comes again"
                )
        texts = [message["msg"] for messages in left.values() for message in messages]
        assert len(texts) == len(set(texts)), "a message was stored twice"
        assert self.stored["all"] <= set(texts), f"lost: {self.stored['all'] - set(texts)}"
        finished = {self.texts[name] for name in self.perhaps_done}
        assert self.stored["one"] <= set(texts) | finished, (
            f"lost: {self.stored['one'] - set(texts) - finished}"
        )
        for session in self.sessions:
            if "news" in session.topic:
                last = max(session.indexes, default=-1) if session not in live else 10**9
                due = [
                    m["index"]
                    for m in left[session.topic]
                    if session.last_seen < m["index"] <= last
                ]
                assert session.indexes == due, (
                    f"after {session.last_seen} came {session.indexes}, and not {due}"
                )


def problem_of(seed: int, actions: list[Action], kind: type[World] = World) -> BaseException | None:
    """Play a history; returns what went wrong, if anything did."""
    loop, troubles = Loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    world = kind(seed)
    try:
        loop.run_until_complete(world.play(actions))
        assert not troubles, troubles
        assert not world.problem
    except Exception as problem:
        return world.problem or problem
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        with suppress(Exception):
            loop.run_until_complete(asyncio.sleep(1))
        loop.close()
        world.disk.database.close()
    return None


def shortened(seed: int, actions: list[Action], kind: type[World]) -> list[Action]:
    """The plan without the parts that the failure does not need."""
    size = len(actions) // 2
    while size:
        for start in range(0, len(actions), size):
            fewer = actions[:start] + actions[start + size :]
            if problem_of(seed, fewer, kind):
                actions = fewer
                break
        else:
            size //= 2
    return actions


def simulate(seed: int, kind: type[World] = World) -> None:
    """Play the history of a seed. Raises AssertionError with its shortest form."""
    actions = plan(random.Random(seed))
    if problem_of(seed, actions, kind):
        actions = shortened(seed, actions, kind)
        story = "\n".join(map(repr, actions))
        raise AssertionError(f"seed {seed}:\n{story}") from problem_of(seed, actions, kind)


def take_small_steps(set: Callable[[object, str, int], None]) -> None:
    set(stages.beyond.broker.topic, "PIECE", 2)
    set(journal, "SNAPSHOT_STEP", 200)
    set(acks, "SLICE", 3)


if __name__ == "__main__":
    from tqdm import trange

    take_small_steps(setattr)
    for seed in trange(int(sys.argv[1]), unit=" histories"):
        simulate(seed)
