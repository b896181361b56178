"""What `acks` introduces."""

from typing import Any

from given import Connect
from peer import fresh_topic, msgs, only_error
from workers import ack, works


async def test_work_of_a_worker_that_is_gone_goes_to_another(connect: Connect) -> None:
    """Hand what a client has not acknowledged to another subscriber as soon as the client is gone,
    `redelivered`."""
    topic, boss, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic, ack=True)
    await boss.send(topic, "a", "b", delivery="one")
    await bob.subscribe(topic, ack=True)
    assert works(await alice.heard()) == [(0, "a", False), (1, "b", False)]
    await alice.quit()
    assert works(await bob.heard()) == [(0, "a", True), (1, "b", True)]


async def test_work_that_nobody_can_take_waits_in_the_order_of_its_index(connect: Connect) -> None:
    """If nobody else is there, unacknowledged messages go back to the cache, between those that
    wait there."""
    topic, boss, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic, ack=True, prefetch=2)
    await boss.send(topic, "a", "b", "c", delivery="one")
    await boss.send(topic, "for all", delivery="all")
    assert works(await alice.heard()) == [(0, "a", False), (1, "b", False), (3, "for all", False)]
    assert await ack(alice, topic, 0) == [
        {"command": "send", "topic": topic, "msg": "c", "delivery": "one", "index": 2},
    ]
    await alice.quit()
    expected = [(1, "b", True), (2, "c", True), (3, "for all", False)]
    assert works(await bob.subscribe(topic, ack=True)) == expected


async def test_work_waits_however_much_there_is(connect: Connect) -> None:
    """What waits for a worker is not in the cache: no newer message pushes it out."""
    topic, boss, alice = fresh_topic(), await connect(), await connect()
    jobs = [f"job {n}" for n in range(300)]
    await boss.send(topic, *jobs, delivery="one")
    assert msgs(await alice.subscribe(topic)) == jobs


async def test_what_was_acknowledged_does_not_come_again(connect: Connect) -> None:
    """Forget a message when its worker acknowledges it."""
    topic, boss, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic, ack=True)
    await boss.send(topic, "a", "b", "c", delivery="one")
    await alice.heard()
    for index in (2, 0):  # in any order
        assert await ack(alice, topic, index) == []
    await alice.quit()
    assert works(await bob.subscribe(topic)) == [(1, "b", True)]


async def test_a_worker_gets_no_more_than_it_asked_for(connect: Connect) -> None:
    """With `prefetch` N a worker holds at most N messages; the next comes when it has acknowledged
    one."""
    topic, boss, alice = fresh_topic(), await connect(), await connect()
    await boss.send(topic, "0", "1", delivery="one")
    assert msgs(await alice.subscribe(topic, ack=True, prefetch=3)) == ["0", "1"]
    await boss.send(topic, *"23456", delivery="one")
    assert msgs(await alice.heard()) == ["2"]
    assert msgs(await ack(alice, topic, 1)) == ["3"]
    assert msgs(await ack(alice, topic, 0)) == ["4"]


async def test_work_goes_to_who_has_room(connect: Connect) -> None:
    """Draw among the workers that hold fewer messages than their `prefetch`."""
    topic, boss, busy, free = fresh_topic(), await connect(), await connect(), await connect()
    await busy.subscribe(topic, ack=True, prefetch=1)
    await boss.send(topic, "first", delivery="one")
    await free.subscribe(topic, ack=True, prefetch=20)
    await boss.send(topic, *[f"job {n}" for n in range(20)], "too much", delivery="one")
    assert msgs(await busy.heard()) == ["first"]
    assert msgs(await free.heard()) == [f"job {n}" for n in range(20)]
    assert msgs(await ack(busy, topic, 0)) == ["too much"]


async def test_only_what_one_holds_can_be_acknowledged(connect: Connect) -> None:
    """Refuse to acknowledge another's message, one twice, or one that never was, and change
    nothing; the refusal's `detail` names the index."""
    topic, boss, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic, ack=True)
    await boss.send(topic, "a", "b", delivery="one")
    await bob.subscribe(topic, ack=True)
    assert msgs(await alice.heard()) == ["a", "b"]
    assert await ack(alice, topic, 0) == []
    for peer, name, index in (
        (alice, topic, 0),
        (bob, topic, 1),
        (alice, topic, 7),
        (alice, fresh_topic(), 1),
    ):
        assert str(index) in only_error(await ack(peer, name, index))
    await alice.quit()
    assert works(await bob.heard()) == [(1, "b", True)]


async def test_who_does_not_acknowledge_can_take_over_the_work_of_one_who_does(
    connect: Connect,
) -> None:
    """A subscriber without `ack` is given a message once, and then it is forgotten."""
    topic, boss, alice, bob, carol = fresh_topic(), *[await connect() for _ in range(4)]
    await alice.subscribe(topic, ack=True)
    await boss.send(topic, "a", delivery="one")
    await bob.subscribe(topic)
    await alice.quit()
    assert works(await bob.heard()) == [(0, "a", True)]
    await bob.quit()
    assert await carol.subscribe(topic) == []


async def test_work_that_came_back_is_not_pushed_out_of_the_cache(connect: Connect) -> None:
    """What was handed to a worker is not lost, however many messages follow."""
    topic, boss, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    texts = [f"job {n}" for n in range(150)]
    await alice.subscribe(topic, ack=True)
    await boss.send(topic, *texts, delivery="one")
    await alice.quit()
    await boss.send(topic, *["news"] * 150, delivery="all")
    assert msgs(await bob.subscribe(topic))[:150] == texts


async def test_who_unsubscribes_may_finish_its_work(connect: Connect) -> None:
    """After `unsubscribe` no more work comes, but what a worker holds it can still acknowledge, or
    lose."""
    topic, boss, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic, ack=True, prefetch=2)
    await boss.send(topic, "a", "b", "c", delivery="one")
    alice.write_command(command="unsubscribe", topic=topic)
    assert msgs(await alice.heard()) == ["a", "b"]
    assert await ack(alice, topic, 0) == []
    await alice.quit()
    assert works(await bob.subscribe(topic)) == [(1, "b", True), (2, "c", False)]


async def test_who_wants_no_cache_gets_the_work_that_waits_because_it_is_busy(
    connect: Connect,
) -> None:
    """With `cache` false only what had to wait before the subscription is left to others."""
    topic, boss, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await boss.send(topic, "before", delivery="one")
    assert await alice.subscribe(topic, ack=True, prefetch=1, cache=False) == []
    await boss.send(topic, "a", "b", delivery="one")
    assert msgs(await alice.heard()) == ["a"]
    assert msgs(await ack(alice, topic, 1)) == ["b"]
    assert await ack(alice, topic, 2) == []
    assert msgs(await bob.subscribe(topic)) == ["before"]


async def test_who_has_seen_more_than_there_is_gets_all_that_is_sent(connect: Connect) -> None:
    """A `last_seen` beyond the newest message, perhaps of another server, hides nothing that is
    sent from now on."""
    topic, boss, alice = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic, ack=True, prefetch=1, last_seen=41)
    await boss.send(topic, "a", "b", "c", delivery="one")
    assert msgs(await alice.heard()) == ["a"]
    assert msgs(await ack(alice, topic, 0)) == ["b"]
    assert msgs(await ack(alice, topic, 1)) == ["c"]


async def test_what_a_worker_holds_comes_back_also_if_it_was_not_to_be_cached(
    connect: Connect,
) -> None:
    """A message in a worker's hands is no longer one for the cache."""
    topic, boss, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic, ack=True)
    await boss.send(topic, "a", delivery="one", cache=False)
    await alice.quit()
    assert works(await bob.subscribe(topic)) == [(0, "a", True)]


async def test_ack_and_prefetch_are_checked(connect: Connect) -> None:
    """`ack` is true or false, `prefetch` a whole number from 1 on, and only together with `ack`."""
    topic, alice = fresh_topic(), await connect()
    bad: list[dict[str, Any]] = [{"ack": 1}, {"prefetch": 1}, {"ack": False, "prefetch": 1}]
    bad += [{"ack": True, "prefetch": value} for value in (0, -1, 1.5, True, "1", None)]
    for fields in bad:
        assert list(fields)[-1] in only_error(await alice.subscribe(topic, **fields))
    assert await alice.subscribe(topic, ack=False) == []
    assert "index" in only_error(await ack(alice, topic, "0"))  # type: ignore[arg-type]


# The rules that need the time are tested in `test_broker`; here, that the server has a timer.
