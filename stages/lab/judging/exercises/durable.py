"""The exercises of lesson 9."""

from typing import Any

from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, accepted, heard
from stages.lab.workbench.lab import Lab


def restart(lab: Lab) -> None:
    """Another server, with the same file."""
    server: Any = lab.server
    lab.restart(type(server)(data=server.data))


async def purge(lab: Lab) -> Claims:
    """{"command": "purge", "topic": "foo"} removes all that waits in a topic, for good."""
    alice, bob, worker = [await lab.connect(name) for name in ("alice", "bob", "worker")]
    for topic in ("foo", "bar"):
        await alice.send(topic, "old")
    await worker.subscribe("foo", ack=True, cache=False)
    await alice.send("foo", "came back", delivery="one")
    await worker.break_off()
    yield Claim("purging is accepted", True, await accepted(alice, command="purge", topic="foo"))
    await bob.subscribe("foo")
    yield Claim("nothing of it is left, also of work that came back", [], await heard(bob))
    await alice.send("foo", "new")
    yield Claim(
        "the indexes go on",
        [("new", 2)],
        [(m["msg"], m["index"]) for m in await bob.all_messages()],
    )
    await bob.subscribe("jobs", ack=True)
    await alice.send("jobs", "wash", delivery="one")
    yield Claim("the jobs are purged", True, await accepted(alice, command="purge", topic="jobs"))
    done = await bob.ack({"topic": "jobs", "index": 0})
    yield Claim(
        "what a worker holds does not wait: it can still be acknowledged", True, done["success"]
    )
    await alice.send("jobs", "feed", delivery="one")
    yield Claim("and the worker stays subscribed", ["feed"], (await heard(bob))[-1:])
    restart(lab)
    carol = await lab.connect("carol")
    await carol.subscribe("foo")
    yield Claim("nothing comes back after a restart", ["new"], await heard(carol))
    await carol.send("foo", "newer")
    yield Claim(
        "where the indexes go on",
        [2, 3],
        [message["index"] for message in await carol.all_messages()],
    )
    await carol.subscribe("bar")
    yield Claim("other topics keep what they have", ["new", "newer", "old"], await heard(carol))
    server: Any = lab.server
    lab.restart(type(server)(data=server.data, waiting_size=10))
    dave = await lab.connect("dave")
    for _ in range(2):
        await accepted(dave, command="purge", topic="full")
        room = await accepted(dave, command="send", topic="full", msg="x" * 10, delivery="one")
    yield Claim("what was purged takes no room any more", True, room)


async def once(lab: Lab) -> Claims:
    """A `send` may have a `key`, a text; of the same key only the first is kept and sent."""
    alice = await lab.connect("alice")
    for topic in ("foo", "bar"):
        await alice.subscribe(topic)

    async def pay(client: Any, topic: str = "foo", **fields: Any) -> Any:
        return await accepted(client, command="send", topic=topic, delivery="all", **fields)

    twice = [await pay(alice, msg="pay 5", key="invoice 7") for _ in range(2)]
    yield Claim("a message with a key is accepted as often as it is sent", [True, True], twice)
    yield Claim("and delivered once", ["pay 5"], await heard(alice))
    await pay(alice, msg="pay 5", key="invoice 8")
    yield Claim("another key is another message, whatever the text", 2, len(await heard(alice)))
    await pay(alice, msg="pay 6", key="invoice 7")
    yield Claim(
        "also with another in between, or another text, the first counts",
        2,
        len(await heard(alice)),
    )
    await pay(alice, topic="bar", msg="elsewhere", key="invoice 7")
    yield Claim("another topic has its own keys", ["elsewhere"], (await heard(alice))[-1:])
    for number in range(20):
        await pay(alice, topic="bar", msg="more", key=f"another {number}")
    await pay(alice, topic="bar", msg="late", key="invoice 7")
    job = {"command": "send", "topic": "bar", "delivery": "one", "msg": "job", "key": "job 1"}
    for _ in range(2):
        await accepted(alice, **job)
    rest = [text for text in await heard(alice) if text in ("late", "job")]
    yield Claim("however many keys there are, and also for one", ["job"], rest)
    for _ in range(2):
        await pay(alice, msg="no key")
    yield Claim("no key is no key", ["no key"] * 2, (await heard(alice))[-2:])
    wrong = await alice.ask(
        {"command": "send", "topic": "foo", "delivery": "all", "msg": "x", "key": 7}
    )
    yield Claim("a key that is no text is malformed", "Malformed json message", wrong.get("reason"))
    restart(lab)
    bob = await lab.connect("bob")
    await pay(bob, msg="pay 5", key="invoice 7")
    await pay(bob, msg="pay 9", key="invoice 9")
    await bob.subscribe("foo")
    paid = [text for text in await heard(bob) if text != "no key"]
    yield Claim("a restart does not forget the keys", ["pay 5", "pay 5", "pay 9"], paid)
    server: Any = lab.server
    lab.restart(type(server)(data=server.data, waiting_length=1))
    carol = await lab.connect("carol")
    job = {"command": "send", "topic": "jobs", "delivery": "one", "msg": "work"}
    await accepted(carol, **job, key="a")
    refused = [(await carol.ask({**job, "key": "b"}))["success"] for _ in range(2)]
    yield Claim("what was refused was not sent: it is refused again", [False, False], refused)


EXERCISES = (purge, once)
