"""The exercises of lesson 10, and what it has you build."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stages.beyond.broker import commands
from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims, heard
from stages.lab.pictures.record import Step
from stages.lab.workbench.lab import Lab, NamedClient


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
    bob, carol = await lab.connect("bob"), await lab.connect("carol")
    yield Claim("with others there, 100 lines", 100, await largest())
    await bob.break_off()
    yield Claim("also when one of them has gone", 100, await largest())
    await carol.break_off()
    dave = await lab.connect("dave")
    await alice.leave()
    alice = dave
    yield Claim("and large ones when it is alone again", True, 100 < await largest() <= 1000)


@contextmanager
def encodings() -> Iterator[list[Any]]:
    """Meanwhile, collects what is encoded, an entry for each call."""
    encode, encode_all, calls = commands.encode, commands.encode_all, list[Any]()

    def counting(what: Any) -> bytes:
        calls.extend([] if isinstance(what, bytes) else [what])
        return encode(what)

    def counting_all(what: Any) -> bytes:
        calls.append(what)
        return encode_all(what)

    commands.encode, commands.encode_all = counting, counting_all
    try:
        yield calls
    finally:
        commands.encode, commands.encode_all = encode, encode_all


async def burst(client: NamedClient, sends: list[dict[str, Any]]) -> list[Any]:
    """Send commands all at once; returns what this client receives in answer."""
    before = len(client.heard)
    step = Step("other", client.name, f"{len(sends)} commands at once")
    async with client.lab.step(step, by=client):
        client.writer.write(b"".join(map(client.encode, sends)))
        await client.settle()
    return client.heard[before:]


def send_to(topic: str, msg: str, **fields: Any) -> dict[str, Any]:
    return {"command": "send", "topic": topic, "msg": msg, "delivery": "all", **fields}


async def together(lab: Lab) -> Claims:
    """Messages that come together are encoded together, once, for however many subscribers."""
    alice, *readers = [
        await lab.connect(name) for name in ("alice", "bob", "carol", "dave", "erin", "frank")
    ]
    for reader in readers:
        await reader.subscribe("foo")
    await readers[0].subscribe("bar")
    messages = [f"message {number}" for number in range(50)]
    with encodings() as calls:
        answers = await burst(alice, [send_to("foo", text) for text in messages])
    of_messages = [call for call in calls if not isinstance(call, dict)]  # and not of answers
    few = len(of_messages) if len(of_messages) > 10 else "10, or fewer"
    yield Claim("50 messages for five readers are encoded", "10, or fewer", few)
    yield Claim("each is answered", [{"success": True}] * 50, answers)
    for reader in readers[1:]:
        await reader.settle()
    got = [await heard(reader) for reader in readers]
    yield Claim("every reader gets all of them, in order", [messages] * 5, got)
    await burst(alice, [send_to("foo" if n % 3 else "bar", f"mixed {n}") for n in range(9)])
    mixed = [text for text in await heard(readers[0]) if text.startswith("mixed")]
    yield Claim("also of topics in turn", [f"mixed {n}" for n in range(9)], mixed)
    refused = await burst(alice, [send_to("foo", "a"), {"command": "?"}, send_to("foo", "b")])
    yield Claim(
        "a bad line is refused, in its place",
        [True, False, True],
        [each["success"] for each in refused],
    )


async def one_answer(lab: Lab) -> Claims:
    """The answers to a run of messages without an `id` are encoded once, for all of them."""
    alice = await lab.connect("alice")
    send = send_to("foo", "x")
    with encodings() as calls:
        got = await burst(alice, [send] * 1000)
        encoded = sum(len(call) if isinstance(call, list) else 1 for call in calls)
    yield Claim("1000 messages are answered", [{"success": True}] * 1000, got)
    yield Claim("of these answers few are encoded", True, encoded < 100)
    got = await burst(alice, [send, {**send, "id": 7}, send, {**send, "id": 8}])
    ids = [each.get("id") for each in got]
    yield Claim("an id still comes back, in order", [None, 7, None, 8], ids)
    got = await burst(alice, [{**send, "id": number} for number in range(3)])
    yield Claim("also if all have one", [0, 1, 2], [each.get("id") for each in got])
    got = await burst(alice, [{**send, "id": ""}, {**send, "id": 0}])
    yield Claim("whatever it is", ["", 0], [each.get("id") for each in got])


EXERCISES = (together, turns, one_answer)
