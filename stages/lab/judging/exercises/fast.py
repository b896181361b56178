"""The exercises of lesson 10."""

from typing import Any

from stages.beyond import commands
from stages.lab.judging.claims import Claim
from stages.lab.judging.exercises.common import Claims
from stages.lab.workbench.lab import Lab


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
    yield Claim("and large ones when it is alone again", True, 100 < await largest() <= 1000)


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
        yield Claim("1000 messages are answered", [{"success": True}] * 1000, heard)
        yield Claim("of these answers few are encoded", True, len(encoded) < 100)
        heard = await answers([send, {**send, "id": 7}, send, {**send, "id": 8}])
        ids = [each.get("id") for each in heard]
        yield Claim("an id still comes back, in order", [None, 7, None, 8], ids)
        heard = await answers([{**send, "id": number} for number in range(3)])
        yield Claim("also if all have one", [0, 1, 2], [each.get("id") for each in heard])
    finally:
        commands.encode, commands.encode_all = encode, encode_all


EXERCISES = (turns, one_answer)
