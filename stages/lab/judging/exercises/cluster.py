"""The exercises of lesson 11, and what it has you build."""

from typing import Any

from stages.beyond import fast
from stages.beyond.log.replica import Replica
from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims
from stages.lab.lessons.cluster.by_hand import LogByHand
from stages.lab.workbench.lab import Lab

LEASE = 5.0


def candidate(lab: Lab) -> Replica:
    """A replica of the class that is tried."""
    server: Any = lab.server
    made: Replica = server.candidate(fast.Broker(), lease=LEASE)
    return made


def send(text: str) -> dict[str, Any]:
    return {"command": "send", "topic": "jobs", "msg": text, "delivery": "one"}


def waiting(replica: Replica) -> list[str]:
    kept = replica.broker.kept()
    return [message.msg for message in kept["jobs"].messages] if "jobs" in kept else []


async def replica(lab: Lab) -> Claims:
    """What a server makes of a log: each proposal once, and the time as all see it."""
    one = candidate(lab)
    log = LogByHand(one)
    log.write("A")
    yield Claim("the first proposal of a server makes it a member", ["A"], list(one.members))
    log.say("A", 0, send("wash"))
    yield Claim("the next one is done", ["wash"], waiting(one))
    log.repeat()
    yield Claim("what comes twice is done once", ["wash"], waiting(one))
    log.say("A", 0, send("feed"))
    log.repeat()
    log.repeat()
    log.say("A", 0, send("mow"))
    yield Claim("and the next after it again", ["wash", "feed", "mow"], waiting(one))
    log.written["B"], log.first["B"] = 7, 1
    log.say("B", 0, send("from nobody"))
    yield Claim("nothing is done for who has not begun", ["wash", "feed", "mow"], waiting(one))
    log = LogByHand(one := candidate(lab))
    for server in "AB":
        log.write(server)
    before = one.clock
    log.time += 1.5
    log.write("A")
    yield Claim("a second and a half of the log is as much for us", 1.5, one.clock - before)
    log.time -= 100
    log.write("A")
    log.write("B")
    yield Claim("its clock may be set back; ours is not", 1.5, one.clock - before)
    log.time += 1000
    log.write("A")
    log.write("B")
    yield Claim("a silence of the log buries nobody", ["A", "B"], sorted(one.members))
    yield Claim("since it counts for half a lease", 1.5 + LEASE / 2, one.clock - before)
    for _ in range(6):
        log.time += 1
        log.write("B")
    yield Claim("a server that is silent for a lease is forgotten", ["B"], list(one.members))
    log.say("A", 0, send("too late"))
    yield Claim("and what it writes then is not done", [], waiting(one))


async def leader(lab: Lab) -> Claims:
    """Of the servers that take part, one leads: the one that has been there longest."""
    one = candidate(lab)

    def leads() -> Any:
        return getattr(one, "leader", "no attribute `leader`")

    log = LogByHand(one)
    yield Claim("where nobody is, nobody leads", None, leads())
    log.write("m")
    yield Claim("whoever comes first leads", "m", leads())
    for server in "az":
        log.write(server)
    yield Claim("whoever comes later does not", "m", leads())
    for _ in range(3):
        log.say("z", 0, send("x"))
    yield Claim("not even by writing more", "m", leads())
    log.write("m", leaves=True)
    yield Claim("when it leaves, the next one leads", "a", leads())
    log.write("m2")
    yield Claim("one that comes back is the last", "a", leads())
    for _ in range(7):
        log.time += 1
        for server in ("z", "m2"):
            log.write(server)
    yield Claim("a leader that is silent for a lease leads no more", "z", leads())
    late = candidate(lab)
    for piece in one.snapshot():
        late.restore(piece)
    log.replicas.append(late)
    log.write("b")
    yield Claim("one that begins with a snapshot agrees", "z", getattr(late, "leader", None))
    log.write("z", leaves=True)
    both = [getattr(each, "leader", None) for each in (one, late)]
    yield Claim("and goes on agreeing", ["m2", "m2"], both)


async def spread(lab: Lab) -> Claims:
    """Which of several logs a topic is in: the same for all servers, and each log has its share."""
    server: Any = lab.server
    topics = [f"topic {number}" for number in range(1000)]
    try:
        of_four = [server.log_of(topic, 4) for topic in topics]
    except AttributeError:
        yield Claim("there is a method", "log_of(topic, logs)", "none")
        return
    yield Claim("it is one of the logs", {0, 1, 2, 3}, set(of_four))
    yield Claim("asked again, the same", of_four, [server.log_of(topic, 4) for topic in topics])
    there = in_another_process(server, topics)
    yield Claim("and the same in another process", of_four, there)
    yield Claim("each log has its share", True, is_even(of_four))
    alike = [f"{'orders/' * 5}{number:04}" for number in range(1000)]
    of_four = [server.log_of(topic, 4) for topic in alike]
    yield Claim("also of names that are much alike", True, is_even(of_four))
    yield Claim("one log has all", {0}, {server.log_of(topic, 1) for topic in topics})
    odd = ["", "ä", "\ud800", "x" * 255]
    within = all(server.log_of(topic, 3) in (0, 1, 2) for topic in odd)
    yield Claim("whatever the name of the topic is", True, within)


def is_even(of_four: list[int]) -> bool | str:
    least = min(map(of_four.count, range(4)))
    return least > 150 or f"one has only {least} of 1000"


def in_another_process(server: Any, topics: list[str]) -> list[int]:
    """What such a server says there, where Python's `hash` of a text is another."""
    scope = type(server).log_of.__globals__
    scope["hash"] = lambda thing: hash(("another process", thing))
    try:
        other = type(server)(engine="memory", log="another process")
        return [other.log_of(topic, 4) for topic in topics]
    finally:
        del scope["hash"]


EXERCISES = (replica, leader, spread)
