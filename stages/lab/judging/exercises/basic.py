"""The exercises of lesson 1."""

from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, heard
from stages.lab.workbench.lab import Lab

UNSUBSCRIBE = "{'command': 'unsubscribe', 'topic': 'foo'}"


async def unsubscribe(lab: Lab) -> Claims:
    """{'command': 'unsubscribe', 'topic': 'foo'} ends a subscription."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    for topic in ("foo", "bar"):
        await alice.subscribe(topic)
        await bob.subscribe(topic)
    yield Claim("unsubscribing is accepted", [], await alice.raw(UNSUBSCRIBE))
    await bob.send("foo", "hello")
    yield Claim("a client that has unsubscribed hears nothing", [], await heard(alice))
    yield Claim("the others go on hearing", ["hello"], await heard(bob))
    await bob.send("bar", "other")
    yield Claim("its other topics go on", ["other"], await heard(alice))
    yield Claim("unsubscribing twice does no harm", [], await alice.raw(UNSUBSCRIBE))
    never = UNSUBSCRIBE.replace("foo", "never heard of")
    yield Claim("nor does it without a subscription", [], await bob.raw(never))
    await bob.send("foo", "still gone")
    yield Claim("and it is still not subscribed", ["other"], await heard(alice))
    await alice.subscribe("foo")
    await bob.raw(UNSUBSCRIBE)
    await bob.send("foo", "again")
    yield Claim(
        "a client that subscribes again hears again", ["other", "again"], await heard(alice)
    )


async def wildcard(lab: Lab) -> Claims:
    """Whoever subscribes to the topic '*' hears every topic."""
    alice, bob, carol = [await lab.connect(name) for name in ("alice", "bob", "carol")]
    await alice.subscribe("*")
    await bob.subscribe("foo")
    await bob.send("foo", 1)
    await bob.send("bar", 2)
    yield Claim("a subscriber of * hears every topic", [1, 2], await heard(alice))
    yield Claim("the others hear only their own", [1], await heard(bob))
    await alice.subscribe("foo")
    await bob.send("foo", 3)
    yield Claim("a subscriber of both hears each message once", [1, 2, 3], await heard(alice))
    await carol.subscribe("*")
    await bob.send("foo", 4)
    yield Claim(
        "there may be many of them", [[1, 2, 3, 4], [4]], [await heard(alice), await heard(carol)]
    )
    await bob.subscribe("a*b")
    await bob.send("*", "to the star")
    yield Claim("'*' is special alone, and only to subscribe", [1, 3, 4], await heard(bob))


EXERCISES = (unsubscribe, wildcard)
