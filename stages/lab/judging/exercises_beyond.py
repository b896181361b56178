"""The exercises of the notebooks beyond the article."""

from collections.abc import Callable
from typing import Any

from stages.beyond import commands
from stages.lab.judging.exercises import Claim, Claims, texts
from stages.lab.workbench.lab import Lab, NamedClient


def without_success(answer: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in answer.items() if field != "success"}


async def accepted(client: NamedClient, **command: Any) -> Any:
    """True if the command succeeds, else what the server says."""
    answer = await client.ask(command)
    return answer["success"] or answer.get("detail", answer["reason"])


async def subscribers(lab: Lab) -> Claims:
    """{"command": "subscribers", "topic": "foo"} is answered with {"success": true, "subscribers":
    2}."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    ask = {"command": "subscribers", "topic": "foo"}
    yield Claim(
        "a topic that nobody knows has none",
        {"subscribers": 0},
        without_success(await alice.ask(ask)),
    )
    await alice.subscribe("foo")
    await bob.subscribe("foo")
    yield Claim(
        "who subscribes is counted", {"subscribers": 2}, without_success(await bob.ask(ask))
    )
    await alice.unsubscribe("foo")
    yield Claim("who unsubscribes is not", {"subscribers": 1}, without_success(await bob.ask(ask)))
    malformed = {**ask, "topic": 7}
    yield Claim(
        "a wrong topic is malformed",
        "Malformed json message",
        (await bob.ask(malformed)).get("reason"),
    )


async def headers(lab: Lab) -> Claims:
    """A `send` may have `headers`, an object of texts, which are delivered with the message."""
    alice = await lab.connect("alice")
    await alice.subscribe("foo")
    send = {"command": "send", "topic": "foo", "msg": "hello", "delivery": "all"}
    yield Claim(
        "headers are accepted", True, await accepted(alice, **send, headers={"trace": "a7"})
    )
    heard = await alice.received()
    yield Claim("and delivered", [{"trace": "a7"}], [message.get("headers") for message in heard])
    yield Claim("a message needs none", True, await accepted(alice, **send))
    wrong = await alice.ask({**send, "headers": {"trace": 7}})
    yield Claim(
        "a header that is no text is malformed", "Malformed json message", wrong.get("reason")
    )


async def at_most_three(lab: Lab) -> Claims:
    """A client may subscribe to three topics; a fourth is refused with the reason "Too many
    topics"."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    first = [(await alice.subscribe(topic))["success"] for topic in ("a", "b", "c", "c")]
    yield Claim("three topics are accepted, each as often as you like", [True] * 4, first)
    yield Claim(
        "a fourth is refused", "Too many topics", (await alice.subscribe("d")).get("reason")
    )
    await bob.send("d", "hello")
    yield Claim("and not subscribed", [], texts(await alice.received()))
    await alice.unsubscribe("a")
    yield Claim(
        "after unsubscribing there is room again", True, (await alice.subscribe("d"))["success"]
    )
    yield Claim("everybody has three", True, (await bob.subscribe("d"))["success"])


async def nack(lab: Lab) -> Claims:
    """{"command": "nack", "topic": "jobs", "index": 0} hands a message that one holds to somebody
    else at once."""
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await alice.subscribe("jobs", ack=True)
    await bob.send("jobs", "too heavy", delivery="one")
    await bob.subscribe("jobs", ack=True)
    command = {"command": "nack", "topic": "jobs", "index": 0}
    yield Claim(
        "a message that one holds can be given back", True, await accepted(alice, **command)
    )
    heard = [(message["msg"], message.get("redelivered")) for message in await bob.received()]
    yield Claim("somebody else gets it, redelivered", [("too heavy", True)], heard)
    yield Claim("but only once", False, (await alice.ask(command))["success"])
    yield Claim(
        "who gets it can acknowledge it",
        True,
        (await bob.ack({"topic": "jobs", "index": 0}))["success"],
    )


async def poison(lab: Lab) -> Claims:
    """A message that has come back three times is not handed out again."""
    boss = await lab.connect("boss")
    await boss.send("jobs", "deadly", delivery="one")
    await boss.send("jobs", "harmless", delivery="one")
    got = []
    for name in ("alice", "bob", "carol", "dave"):
        worker = await lab.connect(name)
        await worker.subscribe("jobs", ack=True, prefetch=1)
        got.append(texts(await worker.received()))
        await worker.drop()
    yield Claim(
        "three workers get it, the fourth gets the next job", [["deadly"]] * 3 + [["harmless"]], got
    )


async def purge(lab: Lab) -> Claims:
    """{"command": "purge", "topic": "foo"} removes all that waits in a topic, for good."""
    alice, worker = await lab.connect("alice"), await lab.connect("worker")
    for topic in ("foo", "bar"):
        await alice.send(topic, "old")
    await worker.subscribe("foo", ack=True)
    await alice.send("foo", "came back", delivery="one")
    await worker.drop()
    yield Claim("purging is accepted", True, await accepted(alice, command="purge", topic="foo"))
    await alice.subscribe("foo")
    yield Claim(
        "nothing of it is left, also of work that came back", [], texts(await alice.received())
    )
    server: Any = lab.server
    lab.restart(type(server)(data=server.data))
    bob = await lab.connect("bob")
    await bob.subscribe("foo")
    yield Claim("nor after a restart", [], texts(await bob.received()))
    await bob.send("foo", "new")
    yield Claim("its indexes go on", [2], [message["index"] for message in await bob.received()])
    await bob.subscribe("bar")
    yield Claim("other topics keep what they have", ["new", "old"], texts(await bob.received()))


async def once(lab: Lab) -> Claims:
    """A `send` may have a `key`, a text; of the same key only the first is kept and sent."""
    alice = await lab.connect("alice")
    await alice.subscribe("foo")
    send = {"command": "send", "topic": "foo", "msg": "pay 5", "delivery": "all"}
    twice = [await accepted(alice, **send, key="invoice 7") for _ in range(2)]
    yield Claim("a message with a key is accepted as often as it is sent", [True, True], twice)
    yield Claim("and delivered once", ["pay 5"], texts(await alice.received()))
    server: Any = lab.server
    lab.restart(type(server)(data=server.data))
    bob = await lab.connect("bob")
    await accepted(bob, **send, key="invoice 7")
    await accepted(bob, **send, key="invoice 8")
    await accepted(bob, **send)
    await bob.subscribe("foo")
    indexes = [message["index"] for message in await bob.received()]
    yield Claim("a restart does not forget the keys, and no key is no key", [0, 1, 2], indexes)


async def turns(lab: Lab) -> Claims:
    """A client that is alone may have 1000 lines in a batch; as soon as there is another, 100."""
    server: Any = lab.server
    sizes: list[int] = []
    handle_lines = server.broker.handle_lines

    def counting(client: int, data: bytes) -> None:
        sizes.append(data.count(b"\n") + 1)
        handle_lines(client, data)

    server.broker.handle_lines = counting
    alice = await lab.connect("alice")

    async def largest() -> int:
        """The largest batch of a flood."""
        sizes.clear()
        alice.writer.write(b'{"command": "unsubscribe", "topic": "foo"}\n' * 5000)
        await alice.settle()
        return max(sizes)

    yield Claim("alone, a client has large batches", True, 100 < await largest() <= 1000)
    bob = await lab.connect("bob")
    yield Claim("with another one there, 100 lines", 100, await largest())
    await bob.drop()
    yield Claim("and large ones when that is gone", True, 100 < await largest() <= 1000)


async def one_answer(lab: Lab) -> Claims:
    """The answers to a run of messages without an `id` are encoded once, for all of them."""
    alice = await lab.connect("alice")
    send = {"command": "send", "topic": "foo", "msg": "x", "delivery": "all"}
    encoded: list[Any] = []
    encode, encode_all = commands.encode, commands.encode_all

    def counting(what: Any) -> bytes:
        encoded.append(what)
        return encode(what)

    def counting_all(what: Any) -> bytes:
        encoded.extend(what)
        return encode_all(what)

    async def answers(sends: list[dict[str, Any]]) -> list[Any]:
        encoded.clear()
        before = len(alice.heard)
        alice.writer.write(b"".join(map(alice.encode, sends)))
        await alice.settle()
        return alice.heard[before:]

    commands.encode, commands.encode_all = counting, counting_all
    try:
        heard = await answers([send] * 1000)
        yield Claim("1000 messages are answered", 1000, len(heard))
        yield Claim("of these answers few are encoded", True, len(encoded) < 100)
        heard = await answers([send, {**send, "id": 7}, send, {**send, "id": 8}])
        ids = [each.get("id") for each in heard]
        yield Claim("an id still comes back, in order", [None, 7, None, 8], ids)
    finally:
        commands.encode, commands.encode_all = encode, encode_all


BEYOND: dict[str, Callable[[Lab], Claims]] = {
    scenario.__name__: scenario
    for scenario in (
        subscribers,
        headers,
        at_most_three,
        nack,
        poison,
        purge,
        once,
        turns,
        one_answer,
    )
}
