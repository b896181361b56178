"""The exercises of lesson 5."""

from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, heard
from stages.lab.workbench.lab import Lab


async def farewell(lab: Lab) -> Claims:
    """When a subscriber goes, the others of its topics are sent {'left': topic}."""
    alice, bob, carol, dave = [
        await lab.connect(name) for name in ("alice", "bob", "carol", "dave")
    ]
    for topic in ("foo", "bar"):
        await alice.subscribe(topic)
        await bob.subscribe(topic)
    await carol.subscribe("elsewhere")
    await dave.leave()
    yield Claim("a client that never subscribed leaves quietly", [], await bob.all_messages())
    await alice.leave()
    told = sorted(message.get("left", "?") for message in await bob.all_messages())
    yield Claim("those that share topics are told of each", ["bar", "foo"], told)
    yield Claim("the others are not", [], await carol.all_messages())
    erin = await lab.connect("erin")
    await erin.subscribe("foo")
    yield Claim("a farewell is no message: nobody hears it later", [], await erin.all_messages())
    await erin.leave()
    await bob.break_off()
    await carol.break_off()
    state = await lab.state()
    yield Claim("and the server keeps no subscription of those that left", {}, state.subscribers)


WILL = "{'command': 'will', 'topic': 'status', 'msg': '%s'}"


async def last_will(lab: Lab) -> Claims:
    """{'command': 'will', 'topic': 'foo', 'msg': 'x'}: sent to all of the topic once that client
    has gone, however it goes."""
    alice, bob, carol, dave, erin = [
        await lab.connect(name) for name in ("alice", "bob", "carol", "dave", "erin")
    ]
    await alice.subscribe("status")
    yield Claim("a will is accepted", [], await bob.raw(WILL % "bob is gone"))
    refused = await erin.raw("{'command': 'will', 'topic': 'status'}")
    yield Claim("one without a message is refused", ["error"], [*map(next, map(iter, refused))])
    for client in (carol, dave):
        await client.raw(WILL % f"{client.name} is gone")
    yield Claim("and kept secret", [], await heard(alice))
    await erin.leave()
    yield Claim("a client without one leaves quietly", [], await heard(alice))
    await bob.break_off()
    yield Claim("it is sent once the client has broken off", ["bob is gone"], await heard(alice))
    await carol.leave()
    yield Claim("or closed its connection", ["bob is gone", "carol is gone"], await heard(alice))
    await dave.raw("quit")
    everybody = ["bob is gone", "carol is gone", "dave is gone"]
    yield Claim("or said quit; each once", everybody, await heard(alice))
    first = {"command": "send", "topic": "status", "msg": "bob is gone", "index": 0}
    yield Claim("as a message like any other", first, next(iter(await alice.all_messages()), None))
    frank = await lab.connect("frank")
    await frank.subscribe("status")
    yield Claim("which waits for late subscribers", everybody, await heard(frank))


EXERCISES = (farewell, last_will)
