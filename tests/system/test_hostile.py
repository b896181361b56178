"""Any bytes from any client leave the server running and its other clients served."""

import asyncio
import random
from typing import Any

import pytest
from given import Connect
from peer import Peer, fresh_topic, msgs

pytestmark = pytest.mark.slow

COMMANDS = [
    b"{'command': 'subscribe', 'topic': 'foo'}",
    b"{'command': 'subscribe', 'topic': 'foo', 'last_seen': '3'}",
    b"{'command': 'send', 'topic': 'foo', 'msg': 'blah', 'delivery': 'one'}",
    b"{'command': 'send', 'topic': 'bar', 'msg': ['blah', 1.5, None], 'delivery': 'all'}",
    b'{"command": "subscribe", "topic": "foo", "last_seen": 3, "ack": true, "prefetch": 1}',
    b'{"command": "send", "topic": "foo", "msg": "blah", "delivery": "one", "id": 7}',
    b'{"command": "ack", "topic": "foo", "index": 3}',
]


def hostile_line(rng: random.Random) -> bytes:
    """A command with some of its bytes replaced, doubled or missing; or no command at all."""
    line = bytearray(rng.choice(COMMANDS))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(line))
        line[at : at + rng.randrange(3)] = rng.choice(
            [b"", rng.randbytes(1), rng.randbytes(8), b"'", b"}", b"9" * 500]
        )
    if rng.random() < 0.1:
        line[:] = rng.randbytes(rng.choice([1, 100, 70_000]))
    return bytes(line).replace(b"\n", b"")


async def attack(peer: Peer, rng: random.Random) -> None:
    for _ in range(50):
        peer.writer.write(hostile_line(rng) + b"\n")
    match rng.randrange(4):
        case 0:
            peer.reset()
        case 1:
            await peer.writer.drain()
            peer.reset()
        case 2:
            peer.writer.write(hostile_line(rng)[:20])
            peer.close()
        case 3:
            peer.writer.write_eof()
            await peer.reader.read()


async def test_hostile_clients_disturb_nobody(connect: Connect) -> None:
    rng = random.Random(42)
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    for n in range(12):
        attacks = [asyncio.create_task(attack(await connect(), rng)) for _ in range(2)]
        await bob.send(topic, str(n), delivery="all")
        await asyncio.gather(*attacks, return_exceptions=True)
    assert msgs(await alice.heard()) == [str(n) for n in range(12)]


async def test_a_reader_that_never_reads_disturbs_nobody(connect: Connect) -> None:
    topic, stuck, alice = fresh_topic(), await connect(), await connect()
    await stuck.subscribe(topic)
    await alice.subscribe(topic)
    for n in range(200):
        await alice.send(topic, f"{n}" * 10_000)
    assert len(await alice.heard()) == 200


async def test_a_burst_reaches_a_subscriber_that_reads(connect: Connect) -> None:
    topic, alice, sender = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    texts = [f"{n} " + "x" * 50_000 for n in range(100)]
    for text in texts:
        sender.writer.write(sender.line(command="send", topic=topic, msg=text))
    heard, _ = await asyncio.gather(*[hear(alice, 100), sender.settle()])
    assert heard == texts


async def hear(peer: Peer, count: int) -> list[Any]:
    """The next messages, without settling, which reads no further than it must."""
    texts: list[Any] = []
    while len(texts) < count:
        message = await peer.receive()
        texts += [message["msg"]] if "msg" in message else []
    return texts
