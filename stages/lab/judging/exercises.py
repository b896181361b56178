"""The exercises of the notebooks: what a learner's own class is to do, tried out on a running
server.

Each is an async generator that drives clients and yields claims; its docstring is the task.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from stages.lab.workbench.lab import Lab


class Claim(NamedTuple):
    """What should be so; what was expected, and what was got."""

    text: str
    expected: Any
    got: Any


Claims = AsyncIterator[Claim]


def texts(messages: list[dict[str, Any]]) -> list[Any]:
    return [message.get("msg", message) for message in messages]


async def unsubscribe(lab: Lab) -> Claims:
    """{'command': 'unsubscribe', 'topic': 'foo'} ends a subscription."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.subscribe("foo")
    await bob.subscribe("foo")
    yield Claim(
        "unsubscribing is accepted",
        [],
        await alice.raw("{'command': 'unsubscribe', 'topic': 'foo'}"),
    )
    await bob.send("foo", "hello")
    yield Claim("a client that has unsubscribed hears nothing", [], texts(await alice.received()))
    yield Claim("the others go on hearing", ["hello"], texts(await bob.received()))
    again = await bob.raw("{'command': 'unsubscribe', 'topic': 'never heard of'}")
    yield Claim("unsubscribing twice, or without a subscription, does no harm", [], again)


async def wildcard(lab: Lab) -> Claims:
    """Whoever subscribes to the topic '*' hears every topic."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.subscribe("*")
    await bob.subscribe("foo")
    await bob.send("foo", 1)
    await bob.send("bar", 2)
    yield Claim("a subscriber of * hears every topic", [1, 2], texts(await alice.received()))
    yield Claim("the others hear only their own", [1], texts(await bob.received()))
    await alice.subscribe("foo")
    await bob.send("foo", 3)
    yield Claim(
        "a subscriber of both hears each message once", [1, 2, 3], texts(await alice.received())
    )


async def no_echo(lab: Lab) -> Claims:
    """A sender does not hear its own messages."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.subscribe("foo")
    await bob.subscribe("foo")
    await alice.send("foo", "hello")
    yield Claim("the sender does not hear itself", [], texts(await alice.received()))
    yield Claim("the others do", ["hello"], texts(await bob.received()))
    for number in range(10):
        await alice.send("foo", number, delivery="one")
    yield Claim(
        "a `one` message is never drawn for its sender",
        ["hello", *range(10)],
        texts(await bob.received()),
    )


async def by_turns(lab: Lab) -> Claims:
    """`one` messages go to the subscribers in turn."""
    workers = [await lab.connect(name) for name in ("alice", "bob", "carol")]
    for worker in workers:
        await worker.subscribe("jobs")
    for number in range(9):
        await workers[0].send("jobs", number, delivery="one")
    heard = [texts(await worker.received()) for worker in workers]
    yield Claim(
        "each message goes to one worker",
        list(range(9)),
        sorted(job for jobs in heard for job in jobs),
    )
    yield Claim("each worker gets as many", [3, 3, 3], [len(messages) for messages in heard])
    order = [
        next((n for n, messages in enumerate(heard) if job in messages), None) for job in range(9)
    ]
    yield Claim("they take turns", order[:3] * 3, order)


async def uncached(lab: Lab) -> Claims:
    """A message with 'cache': False is delivered, but not kept."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.subscribe("foo")
    await alice.send("foo", "keep me")
    await alice.send("foo", "for now only", cache=False)
    yield Claim(
        "both are delivered to who is there",
        ["keep me", "for now only"],
        texts(await alice.received()),
    )
    await bob.subscribe("foo")
    yield Claim("only one is kept for whoever comes late", ["keep me"], texts(await bob.received()))
    await alice.drop()
    await bob.send("foo", "just you", delivery="one", cache=False)
    await bob.close()
    carol = await lab.connect("carol")
    await carol.subscribe("foo")
    yield Claim("a `one` message is not kept either", ["keep me"], texts(await carol.received()))


async def by_age(lab: Lab) -> Claims:
    """Messages older than 60 seconds of `self.clock()` are not replayed."""
    clock: Any = lab.server
    clock.clock = lambda: 1000.0
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.send("news", "old")
    clock.clock = lambda: 1050.0
    await alice.send("news", "fresh")
    clock.clock = lambda: 1070.0
    await bob.subscribe("news")
    yield Claim("70 seconds old is too old, 20 is not", ["fresh"], texts(await bob.received()))
    carol = await lab.connect("carol")
    clock.clock = lambda: 2000.0
    await carol.subscribe("news")
    yield Claim("later, nothing is left", [], texts(await carol.received()))


async def position(lab: Lab) -> Claims:
    """{'command': 'position', 'topic': 'foo'} is answered with {'topic': 'foo', 'next': 2}, the
    index to come."""
    alice = await lab.connect("alice")
    ask = "{'command': 'position', 'topic': 'foo'}"
    yield Claim("a new topic starts at 0", [{"topic": "foo", "next": 0}], await alice.raw(ask))
    await alice.send("foo", "a")
    await alice.send("foo", "b", delivery="one")
    yield Claim("every message counts", [{"topic": "foo", "next": 2}], await alice.raw(ask))
    await alice.raw(ask)
    yield Claim("asking uses up no index", [{"topic": "foo", "next": 2}], await alice.raw(ask))


async def epoch(lab: Lab) -> Claims:
    """Messages carry an 'epoch', the server's own; who subscribes with 'last_seen' of another epoch
    gets everything."""
    alice, bob, carol = [await lab.connect(name) for name in ("alice", "bob", "carol")]
    await alice.send("foo", "a")
    await alice.send("foo", "b")
    await bob.subscribe("foo", last_seen=41, epoch="of a server that is gone")
    yield Claim("a stale last_seen hides nothing", ["a", "b"], texts(await bob.received()))
    epochs = {message.get("epoch") for message in await bob.received()}
    yield Claim("all messages carry the same epoch", 1, len(epochs - {None}))
    await carol.subscribe("foo", last_seen=0, epoch=epochs.pop() if epochs else None)
    yield Claim("a last_seen of this epoch counts", ["b"], texts(await carol.received()))


async def farewell(lab: Lab) -> Claims:
    """When a subscriber goes, the others of its topics are sent {'left': topic}."""
    alice, bob, carol = [await lab.connect(name) for name in ("alice", "bob", "carol")]
    await alice.subscribe("foo")
    await bob.subscribe("foo")
    await carol.subscribe("bar")
    await alice.close()
    yield Claim("who shares a topic is told", [{"left": "foo"}], await bob.received())
    yield Claim("the others are not", [], await carol.received())
    await bob.drop()
    await carol.drop()
    yield Claim(
        "and the server keeps nothing of those who left", 0, len(getattr(lab.server, "topics", "?"))
    )


async def last_will(lab: Lab) -> Claims:
    """{'command': 'will', 'topic': 'foo', 'msg': 'x'}: sent to all of the topic once that client
    has gone."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.subscribe("status")
    accepted = await bob.raw("{'command': 'will', 'topic': 'status', 'msg': 'bob is gone'}")
    yield Claim("a will is accepted", [], accepted)
    yield Claim("and kept secret", [], texts(await alice.received()))
    await bob.drop()
    yield Claim(
        "it is sent once the client has gone", ["bob is gone"], texts(await alice.received())
    )
    carol = await lab.connect("carol")
    await carol.close()
    heard = Counter(texts(await alice.received()))
    yield Claim("once, and not for others", {"bob is gone": 1}, dict(heard))


EXERCISES: dict[str, Callable[[Lab], Claims]] = {
    scenario.__name__: scenario
    for scenario in (
        unsubscribe, wildcard, no_echo, by_turns, uncached, by_age, position, epoch, farewell, last_will,
    )
}  # fmt: skip
