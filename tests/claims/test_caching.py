"""What `caching` introduces."""

from given import Connect
from peer import fresh_topic, msgs


async def test_a_message_waits_for_every_late_subscriber(connect: Connect) -> None:
    """Keep the messages of a topic, and write them to a new subscriber, oldest first."""
    topic, sender, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await sender.send(topic, "first", "second", delivery="all")
    await sender.send(topic, "by default")
    assert msgs(await alice.subscribe(topic)) == ["first", "second", "by default"]
    assert msgs(await bob.subscribe(topic)) == ["first", "second", "by default"]


async def test_the_last_100_messages_wait(connect: Connect) -> None:
    """Keep 100 messages; drop the oldest when one more comes."""
    topic, sender, alice = fresh_topic(), await connect(), await connect()
    texts = [f"message {n}" for n in range(250)]
    await sender.send(topic, *texts)
    assert msgs(await alice.subscribe(topic)) == texts[150:]


async def test_each_topic_has_a_cache_of_its_own(connect: Connect) -> None:
    """Keep a cache for each topic, not one for all."""
    quiet, busy, sender, alice = fresh_topic(), fresh_topic(), await connect(), await connect()
    await sender.send(quiet, "hello")
    await sender.send(busy, *map(str, range(200)))
    assert msgs(await alice.subscribe(quiet)) == ["hello"]


async def test_a_message_that_was_delivered_waits_for_others_all_the_same(connect: Connect) -> None:
    """A message for all is kept, also if somebody has heard it already."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "hello")
    assert msgs(await alice.heard()) == ["hello"]
    assert msgs(await bob.subscribe(topic)) == ["hello"]


async def test_a_one_message_that_nobody_was_there_for_waits_for_one_subscriber(
    connect: Connect,
) -> None:
    """Keep a 'one' message only while nobody got it; when a replay hands it over, remove it."""
    topic, sender, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await sender.send(topic, "same", "same", "other", delivery="one")
    assert msgs(await alice.subscribe(topic)) == ["same", "same", "other"]
    assert await bob.subscribe(topic) == []


async def test_messages_for_all_and_for_one_wait_in_one_order(connect: Connect) -> None:
    """Replay both kinds as they came, not one kind after the other."""
    topic, sender, alice = fresh_topic(), await connect(), await connect()
    expected = []
    for n in range(10):
        for delivery in ("all", "one", "one", "all"):
            expected.append(f"{n} for {delivery}")
            await sender.send(topic, expected[-1], delivery=delivery)
    assert msgs(await alice.subscribe(topic)) == expected


async def test_a_one_message_that_was_delivered_does_not_wait(connect: Connect) -> None:
    """A 'one' message that was handed to a subscriber must not be kept."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "one", delivery="one")
    await alice.send(topic, "all", delivery="all")
    assert msgs(await alice.heard()) == ["one", "all"]
    assert msgs(await bob.subscribe(topic)) == ["all"]


async def test_subscribing_again_replays_the_cache_anew(connect: Connect) -> None:
    """Replay on every subscribe, also for a client that is subscribed already."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "hello")
    assert msgs(await alice.heard()) == ["hello"]
    assert msgs(await alice.subscribe(topic)) == ["hello"]


async def test_the_cache_comes_before_new_messages(connect: Connect) -> None:
    """Finish the replay before you handle the next command."""
    topic, sender, alice = fresh_topic(), await connect(), await connect()
    await sender.send(topic, "old")
    alice.write_command(command="subscribe", topic=topic)
    alice.write_command(command="send", topic=topic, msg="new")
    assert msgs(await alice.heard()) == ["old", "new"]


async def test_a_rejected_message_does_not_wait(connect: Connect) -> None:
    """Check a command completely before you keep it."""
    topic, sender, alice = fresh_topic(), await connect(), await connect()
    await sender.send(topic, "bad", delivery="some")
    await sender.send(topic, "good")
    assert msgs(await alice.subscribe(topic)) == ["good"]
