"""What `replies` introduces."""

import asyncio
import json
from typing import Any

import pytest
from given import Connect
from peer import DEPTH, Message, fresh_topic, msgs, patiently
from target import Address

SUCCESS: Message = {"success": True}
NOT_UTF8: Message = {"success": False, "reason": "Could not decode input as UTF-8"}
NOT_JSON: Message = {"success": False, "reason": "Could not parse json"}
MALFORMED: Message = {"success": False, "reason": "Malformed json message"}


async def talk(address: Address, *lines: bytes | Message) -> list[Message]:
    """Send lines as they are, dicts as JSON, and then the end of file; returns the objects that
    come back."""
    reader, writer = await asyncio.open_connection(*address, limit=2**23)
    try:
        for line in lines:
            writer.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
        writer.write_eof()
        heard = await patiently(reader.read(), "the server to close the connection")
        return [parsed(line) for line in heard.splitlines(keepends=True)]
    finally:
        writer.transport.abort()


def parsed(line: bytes) -> Message:
    assert line.endswith(b"}\r\n"), f"expected a line of JSON that ends in CR and LF, got {line!r}"
    try:
        return dict(json.loads(line))
    except ValueError:
        raise AssertionError(f"expected a line of JSON, got {line!r}") from None


def subscribe(topic: str, **fields: Any) -> Message:
    return {"command": "subscribe", "topic": topic, **fields}


def send(topic: str, msg: str = "hello", **fields: Any) -> Message:
    return {"command": "send", "topic": topic, "msg": msg, "delivery": "all", **fields}


def delivered(topic: str, index: int, msg: str = "hello", **fields: Any) -> Message:
    return {**send(topic, msg), **fields, "index": index}


async def test_every_command_is_answered(address: Address) -> None:
    """Answer each command with one line of JSON that ends in CR and LF."""
    topic = fresh_topic()
    commands = [subscribe(topic), {"command": "unsubscribe", "topic": topic}, send(topic)]
    assert await talk(address, *commands) == [SUCCESS] * 3


async def test_a_subscriber_is_answered_first_and_then_caught_up(address: Address) -> None:
    """Write the answer to `subscribe` before the cached messages."""
    topic = fresh_topic()
    await talk(address, send(topic, "a"), send(topic, "b"))
    assert await talk(address, subscribe(topic)) == [
        SUCCESS,
        delivered(topic, 0, "a"),
        delivered(topic, 1, "b"),
    ]


async def test_a_sender_is_answered_after_its_message_was_delivered(address: Address) -> None:
    """Write the answer to `send` after the message has been written to all its recipients."""
    topic = fresh_topic()
    assert await talk(address, subscribe(topic), send(topic)) == [
        SUCCESS,
        delivered(topic, 0),
        SUCCESS,
    ]


async def test_a_message_is_the_senders_object_and_its_index(address: Address) -> None:
    """Deliver the sender's fields and `index`, nothing else; the `id` is not for others."""
    topic = fresh_topic()
    command = {
        "cache": True,
        "msg": "naïve",
        "id": 7,
        "delivery": "one",
        "topic": topic,
        "command": "send",
    }
    heard = await talk(address, subscribe(topic), command)
    assert heard[1:2] == [delivered(topic, 0, "naïve", delivery="one", cache=True)]


BAD = {
    b"hello": NOT_JSON,
    b"{'command': 'subscribe', 'topic': 'foo'}": NOT_JSON,
    b'{"command": "subscribe", "topic": "foo"': NOT_JSON,
    b"[]": MALFORMED,
    b"7": MALFORMED,
    b'"hello"': MALFORMED,
    b"null": MALFORMED,
    b"{}": MALFORMED,
    b'{"topic": "foo"}': MALFORMED,
    b'{"command": "publish", "topic": "foo"}': MALFORMED,
    b'{"command": ["send"], "topic": "foo"}': MALFORMED,
    b'{"command": "__init__", "topic": "foo"}': MALFORMED,
    b'{"command": "subscribe"}': MALFORMED,
    b'{"command": "subscribe", "topic": 7}': MALFORMED,
    b'{"command": "subscribe", "topic": "foo", "extra": 1}': MALFORMED,
    b'{"command": "subscribe", "topic": "foo", "last_seen": "1"}': MALFORMED,
    b'{"command": "subscribe", "topic": "foo", "last_seen": true}': MALFORMED,
    b'{"command": "subscribe", "topic": "foo", "last_seen": 1.0}': MALFORMED,
    b'{"command": "subscribe", "topic": "foo", "last_seen": null}': MALFORMED,
    b'{"command": "subscribe", "topic": "foo", "cache": 1}': MALFORMED,
    b'{"command": "subscribe", "topic": "foo", "id": true}': MALFORMED,
    b'{"command": "unsubscribe"}': MALFORMED,
    b'{"command": "unsubscribe", "topic": "foo", "cache": true}': MALFORMED,
    b'{"command": "send", "topic": "foo", "delivery": "all"}': MALFORMED,
    b'{"command": "send", "topic": "foo", "msg": "x"}': MALFORMED,
    b'{"command": "send", "topic": "foo", "msg": 7, "delivery": "all"}': MALFORMED,
    b'{"command": "send", "topic": "foo", "msg": "x", "delivery": "some"}': MALFORMED,
    b'{"command": "send", "topic": "foo", "msg": "x", "delivery": "all", "index": 3}': MALFORMED,
    b'{"command": "send", "topic": "foo", "msg": "x", "delivery": "all", "cache": "no"}': MALFORMED,
}


HOSTILE = {
    b"\xff\xfe": NOT_UTF8,
    b'{"command": "subscribe", "topic": "\xff"}': NOT_UTF8,
    b"[" * DEPTH: NOT_JSON,
    b"1" * 5_000: NOT_JSON,
    b"x" * (2**20 + 1): NOT_JSON,
    b'{"command": "subscribe", "topic": "' + b"x" * 256 + b'"}': MALFORMED,
    b'{"command": "\\ud800", "topic": "foo"}': MALFORMED,
    b'{"command": "subscribe", "topic": "foo", "\\ud800": 1}': MALFORMED,
}

NESTED = b'{"x": ' + b"[" * DEPTH + b"]" * DEPTH + b', "command": "send"}'


async def test_a_bad_line_is_answered_with_the_reason_and_the_connection_goes_on(
    address: Address,
) -> None:
    """The reason is "Could not parse json", or "Malformed json message" if it is JSON, but no
    command. Any key that is not of the command is wrong."""
    for bad, reason in BAD.items():
        answers = await talk(address, bad, send(fresh_topic()))
        assert (bad[:100], answers) == (bad[:100], [reason, SUCCESS])


@pytest.mark.hardening
async def test_a_line_that_is_no_text_or_no_json_is_answered_like_any_other_bad_one(
    address: Address,
) -> None:
    """There is a third reason: "Could not decode input as UTF-8". Lone surrogates are no text. Of a
    line that is nested too deep for your parser, either of the other two is right."""
    for bad, reason in HOSTILE.items():
        answers = await talk(address, bad, send(fresh_topic()))
        assert (bad[:100], answers) == (bad[:100], [reason, SUCCESS])
    answers = await talk(address, NESTED, send(fresh_topic()))
    reason = MALFORMED if answers[:1] == [MALFORMED] else NOT_JSON
    assert (NESTED[:100], answers) == (NESTED[:100], [reason, SUCCESS])


@pytest.mark.hardening
async def test_lines_of_64_kib_and_up_to_1_mib_are_accepted(address: Address) -> None:
    """The limit is 1048576 bytes, without the newline."""
    topic = fresh_topic()
    room = 2**20 - len(json.dumps(send(topic, "")))
    for length in (2**16, room):
        assert await talk(address, send(topic, "x" * length)) == [SUCCESS]
    assert await talk(address, send(topic, "x" * (room + 1))) == [NOT_JSON]
    assert await talk(address, subscribe("x" * 255)) == [SUCCESS]


async def test_an_id_is_repeated_in_the_answer(address: Address) -> None:
    """Repeat `id`, a text or an integer, in the answer; only then say in `detail` what is wrong."""
    topic = fresh_topic()
    for number in ("a", "", 0, -7, 10**20):
        answers = await talk(
            address, send(topic, id=number), send(topic, delivery="some", id=number)
        )
        assert len(answers) == 2
        good, bad = answers
        assert good == {"success": True, "id": number}
        assert "delivery" in bad.pop("detail")
        assert bad == {**MALFORMED, "id": number}


async def test_unsubscribing_ends_a_subscription(connect: Connect) -> None:
    """After `unsubscribe` nothing of the topic is delivered to that client; its other topics go
    on."""
    topic, other, alice, bob = fresh_topic(), fresh_topic(), await connect(), await connect()
    for name in (topic, other):
        await alice.subscribe(name)
        await bob.subscribe(name)
    alice.write_command(command="unsubscribe", topic=topic)
    await alice.settle()
    for name in (topic, other):
        await bob.send(name, "hello", delivery="all")
    await bob.send(topic, "for one", delivery="one")
    assert [message.get("topic") for message in await alice.heard()] == [other]
    assert msgs(await bob.heard()) == ["hello", "hello", "for one"]


async def test_unsubscribing_from_what_is_not_subscribed_succeeds(address: Address) -> None:
    """It does no harm: the client has what it wanted."""
    assert await talk(address, {"command": "unsubscribe", "topic": fresh_topic()}) == [SUCCESS]


async def test_who_wants_no_cache_gets_only_what_is_sent_from_now_on(address: Address) -> None:
    """With `cache` false a `subscribe` replays nothing, and takes nothing out of the cache."""
    topic = fresh_topic()
    await talk(address, send(topic, "old", delivery="one"))
    heard = await talk(address, subscribe(topic, cache=False), send(topic, "new"))
    assert heard == [SUCCESS, delivered(topic, 1, "new"), SUCCESS]
    assert msgs((await talk(address, subscribe(topic)))[1:]) == ["old", "new"]


async def test_what_is_not_to_be_cached_reaches_only_who_is_there(address: Address) -> None:
    """With `cache` false a message is delivered, and numbered, but never waits."""
    topic = fresh_topic()
    heard = await talk(
        address,
        subscribe(topic),
        send(topic, cache=False),
        send(topic, cache=False, delivery="one"),
    )
    assert len(heard) == 5
    await talk(address, send(topic, cache=False, delivery="one"), send(topic, "kept"))
    assert await talk(address, subscribe(topic)) == [SUCCESS, delivered(topic, 3, "kept")]


async def test_a_subscriber_is_told_how_many_messages_it_has_missed(address: Address) -> None:
    """Count the messages after `last_seen` that the cache has lost; tell nothing if there are
    none."""
    topic = fresh_topic()
    await talk(address, *[send(topic) for _ in range(110)])  # 0 to 9 are gone
    for last_seen, missed in ((-1, 10), (-7, 10), (3, 6), (8, 1)):
        answer = (await talk(address, subscribe(topic, last_seen=last_seen)))[:1]
        assert answer == [{"success": True, "missed": missed}]
    for fields in ({"last_seen": 9}, {"last_seen": 200}, {}):
        assert (await talk(address, subscribe(topic, **fields)))[:1] == [SUCCESS]


async def test_a_message_that_somebody_else_was_given_is_not_missed(address: Address) -> None:
    """Only what was in the cache can be missed: no `one` message that was handed over, and none
    without `cache`."""
    topic = fresh_topic()
    await talk(
        address,
        subscribe(topic),
        *[send(topic, delivery="one") for _ in range(20)],
        send(topic, cache=False),
    )
    assert await talk(address, subscribe(topic, last_seen=0)) == [SUCCESS]
