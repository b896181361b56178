"""What `durable` introduces."""

from contextlib import closing

from given import Restart
from peer import indexes, msgs
from workers import ack, works


async def test_messages_wait_across_a_restart(restart: Restart) -> None:
    """Keep messages and indexes in a file; a new process continues with them."""
    alice = await restart()
    await alice.send("foo", "a", "b", delivery="all")
    await alice.send("bar", "job", delivery="one")
    alice = await restart()
    assert msgs(await alice.subscribe("foo")) == ["a", "b"]
    await alice.send("foo", "c", delivery="all")
    assert indexes(await alice.heard()) == [2]
    alice = await restart()
    assert msgs(await alice.subscribe("foo", last_seen=0)) == ["b", "c"]
    assert msgs(await alice.subscribe("bar")) == ["job"]
    alice = await restart()
    assert await alice.subscribe("bar") == []


async def test_an_index_is_never_used_twice(restart: Restart) -> None:
    """Store the next index also of messages that are not kept."""
    alice = await restart()
    await alice.subscribe("foo")
    await alice.send("foo", "a", delivery="one")
    await alice.send("foo", "b", delivery="all", cache=False)
    alice = await restart()
    assert await alice.subscribe("foo") == []
    await alice.send("foo", "c", delivery="all")
    assert indexes(await alice.heard()) == [2]


async def test_work_that_was_done_does_not_come_again_whoever_did_it(restart: Restart) -> None:
    """If you carry out the log again, draw the same lots: write the seed down, too."""
    alice = await restart()
    with closing(await alice.another()) as bob:
        for worker in (alice, bob):
            await worker.subscribe("jobs", ack=True)
        await alice.send("jobs", *map(str, range(20)), delivery="one")
        for worker in (alice, bob):
            for message in await worker.heard():
                await ack(worker, "jobs", message.get("index", 0))
        await alice.send("jobs", "left over", delivery="one")
    alice = await restart()
    assert msgs(await alice.subscribe("jobs")) == ["left over"]


async def test_work_that_was_not_acknowledged_comes_again_after_a_restart(restart: Restart) -> None:
    """Store what workers hold; after a restart it is work that has come back. If you carry out the
    log again: each restart ends all connections, also those of the restart before."""
    alice = await restart()
    await alice.subscribe("jobs", ack=True, prefetch=2)
    await alice.send("jobs", "a", "b", "c", delivery="one")
    await ack(alice, "jobs", 0)
    alice = await restart()
    assert works(await alice.subscribe("jobs", ack=True)) == [(1, "b", True), (2, "c", True)]
    await ack(alice, "jobs", 2)
    alice = await restart()
    assert works(await alice.subscribe("jobs")) == [(1, "b", True)]
    alice = await restart()
    assert await alice.subscribe("jobs") == []


async def test_what_was_missed_is_known_after_a_restart(restart: Restart) -> None:
    """Store how many messages the cache has lost."""
    alice = await restart()
    await alice.send("foo", *["x"] * 110, delivery="all")
    alice = await restart()
    await alice.subscribe("foo", last_seen=3)
    assert [answer["missed"] for answer in alice.answers if "missed" in answer] == [6]
