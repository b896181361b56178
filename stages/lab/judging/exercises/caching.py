"""The exercises of lesson 3."""

from typing import Any

from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, heard
from stages.lab.workbench.lab import Lab


async def uncached(lab: Lab) -> Claims:
    """A message with 'cache': False is delivered, but not kept."""
    alice, bob, carol = [await lab.connect(name) for name in ("alice", "bob", "carol")]
    await alice.subscribe("foo")
    await alice.send("foo", "keep me")
    await alice.send("foo", "for now only", cache=False)
    both = ["keep me", "for now only"]
    yield Claim("both are delivered to those that are there", both, await heard(alice))
    last = (await alice.all_messages())[-1:]
    yield Claim("with all their fields", [False], [message.get("cache") for message in last])
    await alice.send("bar", "for now only", cache=False)
    await alice.send("bar", "keep me")
    await carol.subscribe("bar")
    yield Claim("the next one is kept again", ["keep me"], await heard(carol))
    await bob.subscribe("foo")
    yield Claim("only one is kept for those that come late", ["keep me"], await heard(bob))
    await carol.send("foo", "just one of you", delivery="one", cache=False)
    got = [*await heard(alice), *await heard(bob)].count("just one of you")
    yield Claim("a `one` message that is not kept still reaches one", 1, got)
    await carol.send("foo", "kept as well", cache=True)
    dave = await lab.connect("dave")
    await dave.subscribe("foo")
    yield Claim("'cache': True changes nothing", ["keep me", "kept as well"], await heard(dave))
    await carol.send("jobs", "for nobody", delivery="one", cache=False)
    await dave.subscribe("jobs")
    late = [text for text in await heard(dave) if text == "for nobody"]
    yield Claim("a `one` message does not wait, either", [], late)
    server: Any = lab.server
    lab.restart(type(server)(cache_length=1))
    erin, frank = await lab.connect("erin"), await lab.connect("frank")
    await erin.send("foo", "keep me")
    await erin.send("foo", "for now only", cache=False)
    await frank.subscribe("foo")
    yield Claim("and pushes nothing out of the cache", ["keep me"], await heard(frank))


async def by_age(lab: Lab) -> Claims:
    """Messages older than 60 seconds of `self.clock()` are not replayed."""
    server: Any = lab.server
    seconds = 1000.0
    server.clock = lambda: seconds
    alice, bob, carol, dave = [
        await lab.connect(name) for name in ("alice", "bob", "carol", "dave")
    ]
    await alice.subscribe("news")
    await bob.send("news", "old")
    await bob.send("again", "twice")
    seconds = 1001.0
    await bob.send("news", "just")
    seconds = 1002.0
    await bob.send("news", "fresh", time="noon")
    seconds = 1061.0
    await bob.send("again", "twice")
    await carol.subscribe("news")
    yield Claim("61 seconds old is too old, 60 is not", ["just", "fresh"], await heard(carol))
    sent: list[dict[str, Any]] = [
        {"command": "send", "topic": "news", "msg": text} for text in ("old", "just", "fresh")
    ]
    sent[2]["time"] = "noon"
    yield Claim("what is delivered is what was sent", sent, await alice.all_messages())
    yield Claim("and so is what is replayed", sent[1:], await carol.all_messages())
    await dave.subscribe("again")
    yield Claim("the same text is not the same message", ["twice"], await heard(dave))
    await bob.send("jobs", "wash", delivery="one")
    seconds = 2000.0
    await dave.subscribe("news")
    await dave.subscribe("jobs")
    yield Claim("later, nothing is left", ["twice"], await heard(dave))


EXERCISES = (uncached, by_age)
