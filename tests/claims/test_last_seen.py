"""What `last_seen` introduces."""

import pytest
from given import Connect
from peer import fresh_topic, indexes, msgs, only_error


async def test_messages_are_numbered_from_0_in_each_topic_whatever_their_delivery(
    connect: Connect,
) -> None:
    """Count each topic's messages from 0, of both deliveries, and put the number into 'index'."""
    one_topic, other_topic, alice = fresh_topic(), fresh_topic(), await connect()
    for topic in (one_topic, other_topic):
        await alice.subscribe(topic)
        await alice.send(topic, "a", delivery="all")
        await alice.send(topic, "b", delivery="one")
        await alice.send(topic, "c")
        assert indexes(await alice.heard()) == [0, 1, 2]


async def test_a_message_keeps_its_index_in_the_cache(connect: Connect) -> None:
    """Store a message together with its index."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.send(topic, *map(str, range(103)))
    assert [(m["msg"], m.get("index")) for m in await bob.subscribe(topic)] == [
        (str(n), n) for n in range(3, 103)
    ]


@pytest.mark.until("disconnects")
async def test_the_index_is_the_servers_whatever_a_client_sends(connect: Connect) -> None:
    """Overwrite an 'index' that a client sends."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "hello", index=99)
    assert indexes(await alice.heard()) == [0]


async def test_a_subscriber_gets_only_what_came_after_last_seen(connect: Connect) -> None:
    """Replay only messages with an index bigger than 'last_seen'."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.send(topic, "a", "b", "c", "d")
    assert msgs(await bob.subscribe(topic, last_seen=1)) == ["c", "d"]
    await alice.send(topic, "e")
    assert indexes(await bob.heard()) == [4]


async def test_a_last_seen_beyond_the_newest_message_hides_nothing_that_is_sent_later(
    connect: Connect,
) -> None:
    """`last_seen` is about the cache only: what is sent from now on goes to every subscriber."""
    topic, sender, alice = fresh_topic(), await connect(), await connect()
    assert await alice.subscribe(topic, last_seen=41) == []
    await sender.send(topic, "hello")
    assert indexes(await alice.heard()) == [0]


async def test_a_subscriber_that_has_seen_nothing_gets_all(connect: Connect) -> None:
    """Negative numbers are valid: nothing was seen yet."""
    topic, alice = fresh_topic(), await connect()
    await alice.send(topic, "a", "b")
    for last_seen in (-1, -7):
        assert indexes(await alice.subscribe(topic, last_seen=last_seen)) == [0, 1]


@pytest.mark.hardening
@pytest.mark.until("disconnects")
async def test_last_seen_may_be_a_text(connect: Connect) -> None:
    """Take '1' for 1: a client that speaks a language without numbers in its literals has only
    texts."""
    topic, alice = fresh_topic(), await connect()
    await alice.send(topic, "a", "b", "c")
    assert msgs(await alice.subscribe(topic, last_seen="1")) == ["c"]
    assert msgs(await alice.subscribe(topic, last_seen="-1")) == ["a", "b", "c"]


async def test_a_bad_last_seen_is_rejected_and_subscribes_nobody(connect: Connect) -> None:
    """Check 'last_seen' before you subscribe the client. True is no number here."""
    topic, alice = fresh_topic(), await connect()
    await alice.send(topic, "waiting")
    for last_seen in (True, 1.5, "abc", None, [1]):
        assert "last_seen" in only_error(await alice.subscribe(topic, last_seen=last_seen))
    await alice.send(topic, "more")
    assert await alice.heard() == []


@pytest.mark.hardening
async def test_an_odd_number_is_no_last_seen(connect: Connect) -> None:
    """int() takes '١', ' 7 ' and '1_000', and fails with more than 4300 digits: look for a sign and
    at most 18 of the digits 0 to 9."""
    topic, alice = fresh_topic(), await connect()
    for last_seen in ("", "1.5", "١", " 7 ", "1_000", "+7", "--7", "7\n", "9" * 19, "9" * 5000):
        assert "last_seen" in only_error(await alice.subscribe(topic, last_seen=last_seen))
    await alice.send(topic, "more")
    assert await alice.heard() == []


async def test_a_one_message_that_was_seen_already_waits_on_for_somebody_else(
    connect: Connect,
) -> None:
    """Remove from the cache only the 'one' messages that you have just sent."""
    topic, sender, alice, bob = fresh_topic(), await connect(), await connect(), await connect()
    await sender.send(topic, "a", "b", delivery="one")
    assert msgs(await alice.subscribe(topic, last_seen=0)) == ["b"]
    assert msgs(await bob.subscribe(topic)) == ["a"]


@pytest.mark.until("disconnects")
async def test_a_message_may_have_a_last_seen_of_any_kind(connect: Connect) -> None:
    """Check `last_seen` of a `subscribe` only: in a message, it is a field like any other."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "hello", last_seen="yesterday")
    heard = await alice.heard()
    assert [(message.get("index"), message.get("last_seen")) for message in heard] == [
        (0, "yesterday")
    ]


async def test_a_rejected_message_uses_up_no_index(connect: Connect) -> None:
    """Check a command completely before you count it."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "bad", delivery="some")
    await alice.send(topic, "good")
    answers = await alice.heard()
    only_error(answers[:1])
    assert indexes(answers[1:]) == [0]
