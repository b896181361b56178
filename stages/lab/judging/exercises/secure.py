"""The exercises of lesson 12, and what it has you build."""

from typing import Any

from msgspec import UNSET

from stages.beyond.broker.commands import Ack, Command, Send, Subscribe, Unsubscribe
from stages.beyond.door.users import User
from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims
from stages.lab.workbench.lab import Lab


class Purge(Command, tag="purge"):
    """A command that some queue of the future may know."""


def user(lab: Lab, **rights: tuple[str, ...]) -> User:
    server: Any = lab.server
    made: User = server.candidate(**rights)
    return made


def sends(of: User, *topics: str) -> list[str]:
    """Those of the topics that a user may send to."""
    return [topic for topic in topics if of.may(Send(topic=topic, msg="", delivery="all"))]


def subscribes(of: User, *topics: str) -> list[str]:
    return [topic for topic in topics if of.may(Subscribe(topic=topic, last_seen=UNSET))]


async def rights(lab: Lab) -> Claims:
    """What a user may do: what a right allows, and nothing else."""
    alice = user(lab, send=("jobs", "news/*"), subscribe=("news/sport",))
    yield Claim("she may send where a right says so", ["jobs"], sends(alice, "jobs"))
    yield Claim("and to all that begins so", ["news/a", "news/"], sends(alice, "news/a", "news/"))
    yield Claim("nowhere else", [], sends(alice, "salaries", "", "news", "a news/a"))
    yield Claim("a right without * is no beginning", [], sends(alice, "jobs2", "jobs/"))
    yield Claim("nor in other letters", [], sends(alice, "Jobs", "NEWS/a", "ｊobs"))
    yield Claim("what she may send she may not read", [], subscribes(alice, "jobs", "news/a"))
    yield Claim("she may read what is hers", ["news/sport"], subscribes(alice, "news/sport"))
    yield Claim("and not send there, unless", [], sends(user(lab, subscribe=("x",)), "x"))
    root = user(lab, send=("*",))
    yield Claim("* alone is everything", ["a", "", "*"], sends(root, "a", "", "*"))
    odd = user(lab, send=("a*b", "x.y", "[jn]*"))
    yield Claim("* in the middle is a letter", ["a*b"], sends(odd, "a*b", "axb", "ab", "a"))
    yield Claim("and so is all else", ["x.y", "[jn]1"], sends(odd, "x.y", "xzy", "jn", "[jn]1"))
    nobody = user(lab)
    yield Claim("without rights, nothing", [], sends(nobody, "a", ""))
    done = [nobody.may(Ack(topic="x", index=0)), nobody.may(Unsubscribe(topic="x"))]
    yield Claim("to acknowledge and to unsubscribe needs no right", [True, True], done)
    unknown = [bool(each.may(Purge(topic="jobs"))) for each in (nobody, alice, root)]
    yield Claim("a command that it does not know is not allowed", [False] * 3, unknown)


async def exceptions(lab: Lab) -> Claims:
    """A right that begins with ! takes away, whatever the others give."""
    alice = user(lab, send=("news/*", "!news/secret*"), subscribe=("*", "!salaries"))
    told = sends(alice, "news/a", "news/secret", "news/secret/x", "news/secre")
    yield Claim("!news/secret* takes away all that begins so", ["news/a", "news/secre"], told)
    told = subscribes(alice, "a", "salaries", "salaries/2026")
    yield Claim("!salaries just that topic", ["a", "salaries/2026"], told)
    other = user(lab, send=("!news/secret", "news/*", "news/secret"))
    yield Claim(
        "wherever it stands, also before news/*", ["news/a"], sends(other, "news/a", "news/secret")
    )
    alone = user(lab, send=("!a",))
    yield Claim("!a alone gives nothing", [], sends(alone, "a", "b", "!a"))
    both = user(lab, send=("*",), subscribe=("!x",))
    yield Claim("what is taken from subscribe is not taken from send", ["x"], sends(both, "x"))
    none = user(lab, send=("*", "!*"))
    yield Claim("!* takes away everything", [], sends(none, "a", ""))
    odd = user(lab, send=("a!b", "!!c", "*c"))
    yield Claim(
        "! only at the beginning: a!b, but !!c takes away !c", ["a!b"], sends(odd, "a!b", "!c")
    )


async def levels(lab: Lab) -> Claims:
    """+ stands for one level: rooms/+/temperature is that of any room, as in MQTT."""
    alice = user(lab, subscribe=("rooms/+/temperature",))
    told = subscribes(alice, "rooms/kitchen/temperature", "rooms/1/temperature")
    yield Claim(
        "rooms/+/temperature is that of any room",
        ["rooms/kitchen/temperature", "rooms/1/temperature"],
        told,
    )
    told = subscribes(alice, "rooms/a/b/temperature", "rooms/temperature", "rooms//temperature")
    yield Claim("+ is one level, which has a name", [], told)
    told = subscribes(alice, "rooms/a/temperature2", "my/rooms/a/temperature", "rooms/a/humidity")
    yield Claim("and nothing that is longer, or other", [], told)
    odd = user(lab, subscribe=("a.b/+", "a+b", "[x]/+"))
    told = subscribes(odd, "a.b/c", "axb/c", "a+b", "aab", "ab", "[x]/1", "x/1")
    yield Claim("all else is itself: a.b/+, a+b, [x]/+", ["a.b/c", "a+b", "[x]/1"], told)
    more = user(lab, subscribe=("rooms/+/*", "+"))
    told = subscribes(more, "rooms/a/b", "rooms/a/b/c", "rooms/a/", "rooms//b", "x", "x/y")
    yield Claim(
        "+ may be all of it, and a final * is as before: +, rooms/+/*",
        ["rooms/a/b", "rooms/a/b/c", "rooms/a/", "x"],
        told,
    )
    lines = user(lab, subscribe=("+/end",))
    yield Claim(
        "a line break is no way around +/end", [], subscribes(lines, "a/end\n", "a/b\n/end")
    )


EXERCISES = (rights, exceptions, levels)
