"""The exercises of lesson 4."""

from typing import Any

from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, heard
from stages.lab.workbench.lab import Lab


async def position(lab: Lab) -> Claims:
    """{'command': 'position', 'topic': 'foo'} is answered with {'topic': 'foo', 'next': 2}, the
    index to come."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    ask = "{'command': 'position', 'topic': 'foo'}"

    def at(index: int) -> list[dict[str, Any]]:
        return [{"topic": "foo", "next": index}]

    yield Claim("a new topic starts at 0", at(0), await alice.raw(ask))
    await bob.subscribe("foo")
    await alice.send("foo", "a")
    await alice.send("foo", "b", delivery="one")
    yield Claim("every message counts, whatever its delivery", at(2), await alice.raw(ask))
    await alice.raw(ask)
    yield Claim("asking uses up no index", at(2), await alice.raw(ask))
    await alice.send("bar", "elsewhere")
    yield Claim("other topics have their own", at(2), await alice.raw(ask))
    yield Claim("only the client that asks is answered", ["a", "b"], await heard(bob))
    await bob.subscribe("foo", last_seen=-1)
    yield Claim("a replay turns nothing back", at(2), await alice.raw(ask))
    server: Any = lab.server
    lab.restart(type(server)(cache_length=1))
    carol = await lab.connect("carol")
    for text in ("a", "b", "c"):
        await carol.send("foo", text)
    yield Claim("also what the cache has lost counts", at(3), await carol.raw(ask))


async def epoch(lab: Lab) -> Claims:
    """Messages carry an 'epoch', the server's own; who subscribes with 'last_seen' of another epoch
    gets everything."""
    alice, bob, carol, dave, erin = [
        await lab.connect(name) for name in ("alice", "bob", "carol", "dave", "erin")
    ]
    await alice.send("foo", "a")
    await alice.send("foo", "b", epoch="a client's own")
    await bob.subscribe("foo", last_seen=41, epoch="of a server that is gone")
    yield Claim("a stale last_seen hides nothing", ["a", "b"], await heard(bob))
    epochs = {message.get("epoch") for message in await bob.all_messages()} - {None}
    yield Claim("all messages carry the same epoch, the server's", 1, len(epochs))
    own = next(iter(epochs), None)
    await carol.subscribe("foo", last_seen=0, epoch=own)
    yield Claim("a last_seen of this epoch counts", ["b"], await heard(carol))
    await dave.subscribe("foo", last_seen=0, epoch="of a server that is gone")
    yield Claim("a small last_seen of another epoch does not", ["a", "b"], await heard(dave))
    await erin.subscribe("foo", last_seen=0)
    yield Claim("without an epoch, last_seen is believed", ["b"], await heard(erin))
    await alice.send("bar", "for one", delivery="one")
    await erin.subscribe("bar")
    yield Claim("a `one` message has it as well", own, (await erin.all_messages())[-1].get("epoch"))
    await alice.send("bar", "live")
    yield Claim("a live message as well", own, (await erin.all_messages())[-1].get("epoch"))
    server: Any = lab.server
    lab.restart(type(server)())
    frank = await lab.connect("frank")
    await frank.subscribe("foo")
    await frank.send("foo", "a")
    others = {message.get("epoch") for message in await frank.all_messages()}
    yield Claim("another server has another epoch", False, others == {own})


EXERCISES = (position, epoch)
