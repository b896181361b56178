"""What `delivery` introduces."""

import itertools
from collections import Counter

import pytest
from given import Connect
from peer import fresh_topic, msgs, only_error


async def test_one_delivery_reaches_exactly_one_subscriber(connect: Connect) -> None:
    """With 'delivery': 'one', choose one subscriber of the topic and write to that one only."""
    topic, sender, peers = fresh_topic(), await connect(), [await connect() for _ in range(3)]
    await sender.send(fresh_topic(), "nobody there", delivery="one")
    assert await sender.heard() == []
    for peer in peers:
        await peer.subscribe(topic)
    for n in range(20):
        await sender.send(topic, f"job {n}", delivery="one")
        assert [msg for peer in peers for msg in msgs(await peer.heard())] == [f"job {n}"]


async def test_one_delivery_is_drawn_uniformly(connect: Connect) -> None:
    """Draw among the subscribers anew for each message, each with the same chance."""
    topic, sender, peers = fresh_topic(), await connect(), [await connect() for _ in range(5)]
    for peer in peers:
        await peer.subscribe(topic)
    await sender.send(topic, *map(str, range(1000)), delivery="one")
    jobs = [[int(msg) for msg in msgs(await peer.heard())] for peer in peers]
    shares = [len(heard) for heard in jobs]
    assert sum(shares) == 1000
    # 200 each, more than 5 standard deviations either way
    assert all(130 < share < 270 for share in shares), f"expected about 200 each, got {shares}"
    steps = {after - before for heard in jobs for before, after in itertools.pairwise(heard)}
    # In turns, or the same order again and again, the steps would all be alike; and sometimes one
    # is drawn twice in a row.
    assert len(steps) > 5
    assert 1 in steps, "expected that one is drawn twice in a row now and then, but none was"


@pytest.mark.until("disconnects")
async def test_all_delivery_is_the_default(connect: Connect) -> None:
    """A missing 'delivery' means 'all', so that clients of stage 1 keep working."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    await bob.subscribe(topic)
    await alice.write(b'{"command": "send", "topic": "%s", "msg": "by default"}\n' % topic.encode())
    await alice.send(topic, "all", delivery="all")
    await alice.send(topic, "one", delivery="one")
    heard = Counter(msgs(await alice.heard() + await bob.heard()))
    assert heard == {"by default": 2, "all": 2, "one": 1}


async def test_any_other_delivery_is_rejected(connect: Connect) -> None:
    """Anything but 'all' and 'one' is an error that names 'delivery', and is delivered to
    nobody."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    for delivery in ("some", "ONE", "", 1, None, ["one"], True):
        await alice.send(topic, "never", delivery=delivery)
        assert "delivery" in only_error(await alice.heard())


@pytest.mark.until("disconnects")
async def test_a_field_of_another_command_is_not_looked_at(connect: Connect) -> None:
    """Check `delivery` of a `send` only: what a `subscribe` says there is not for you."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    for peer in (alice, bob):
        assert await peer.subscribe(topic, delivery="some") == []
    await bob.send(topic, "for one", delivery="one")
    assert msgs([*await alice.heard(), *await bob.heard()]) == ["for one"]
