"""What `basic` introduces, and every later stage keeps."""

from typing import Any

import pytest
from conftest import Connect
from peer import Peer, fresh_topic, msgs, only_error

LIMIT = 64 * 1024
GOOD = "{{'command': 'send', 'topic': {topic!r}, 'msg': {msg!r}}}\n"


async def test_a_message_reaches_every_subscriber_of_its_topic(connect: Connect) -> None:
    topic, alice, bob, carol = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic)
    await bob.subscribe(topic)
    await carol.send(topic, "hello")
    assert msgs(await alice.heard()) == ["hello"]
    assert msgs(await bob.heard()) == ["hello"]


async def test_a_message_reaches_nobody_else(connect: Connect) -> None:
    topic, alice, bob, carol = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic)
    await bob.subscribe(fresh_topic())
    await carol.send(topic, "hello")
    assert await bob.heard() == []
    assert await carol.heard() == []
    assert msgs(await alice.heard()) == ["hello"]


async def test_messages_arrive_in_the_order_sent(connect: Connect) -> None:
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    await bob.send(topic, *range(1000))
    assert msgs(await alice.heard()) == list(range(1000))


async def test_a_sender_that_subscribed_hears_itself(connect: Connect) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "hello")
    assert msgs(await alice.heard()) == ["hello"]


async def test_subscribing_twice_does_not_deliver_twice(connect: Connect) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.subscribe(topic)
    await alice.send(topic, "hello")
    assert msgs(await alice.heard()) == ["hello"]


async def test_the_whole_command_is_delivered_with_fields_the_server_does_not_know(connect: Connect) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "hello", priority=7, tags=["a", "b"], **{"two words": None})
    expected = {"command": "send", "topic": topic, "msg": "hello", "priority": 7, "tags": ["a", "b"], "two words": None}
    heard = await alice.heard()
    assert [{key: message.get(key) for key in expected} for message in heard] == [expected]


TEXTS = [
    "",
    "it's",
    'say "hi"',
    "both ' and \"",
    "back\\slash \\d",
    "two\nlines\r\n",
    "\0\t\x1b[31m",
    "naïve 🐇",
    "\ud800",
]


async def test_any_text_can_be_a_message_or_a_topic(connect: Connect) -> None:
    alice = await connect()
    for text in TEXTS:
        topic = fresh_topic() + text
        await alice.subscribe(topic)
        await alice.send(topic, text)
        assert msgs(await alice.heard()) == [text]


async def test_any_literal_can_be_a_message(connect: Connect) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    for msg in (None, True, -1, 1.5, 2 + 3j, b"\xff\0", (1, [2, {3: {4}}]), "x" * 60_000):
        await alice.send(topic, msg)
        assert msgs(await alice.heard()) == [msg]


async def test_lines_may_end_in_crlf_and_blank_lines_are_ignored(connect: Connect) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    line = GOOD.format(topic=topic, msg="hello").rstrip().encode()
    assert msgs(await alice.ask(b"\n\r\n  \t \n" + line + b"\r\n")) == ["hello"]


async def test_a_line_may_arrive_in_small_pieces(connect: Connect) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    for byte in GOOD.format(topic=topic, msg="🐇").encode():
        alice.writer.write(bytes([byte]))
        await alice.writer.drain()
    assert msgs(await alice.heard()) == ["🐇"]


async def test_quit_ends_the_connection_and_what_follows_is_not_read(connect: Connect) -> None:
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    await bob.ask(GOOD.format(topic=topic, msg="before").encode())
    bob.writer.write(b" quit \r\n" + GOOD.format(topic=topic, msg="after").encode())
    assert await bob.rest() == []
    assert msgs(await alice.heard()) == ["before"]


async def test_end_of_file_ends_the_connection_after_a_last_line_without_newline(connect: Connect) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    alice.writer.write(GOOD.format(topic=topic, msg="last words").rstrip().encode())
    assert msgs(await alice.end()) == ["last words"]


# What must be answered with an error line, and a word that must be in it.
BAD = {
    b"\xff\xfe": "",
    b"hello": "",
    b"{'command': 'subscribe', 'topic': foo}": "",
    b"{'command': 'subscribe'": "",
    b"{[]: 1}": "",
    b"{'msg': 1e999}": "",
    b"{'msg': ...}": "",
    b"\0": "",
    b"[1, 2]": "dict",
    b"{'topic': 'foo'}": "command",
    b"{'command': 'publish', 'topic': 'foo'}": "command",
    b"{'command': ['send'], 'topic': 'foo'}": "command",
    b"{'command': '__init__', 'topic': 'foo'}": "command",
    b"{'command': 'subscribe'}": "topic",
    b"{'command': 'subscribe', 'topic': 7}": "topic",
    b"{'command': 'send', 'topic': None, 'msg': 1}": "topic",
    b"{'command': 'send', 'topic': 'foo'}": "msg",
    b"[" * 60_000: "",
    b"-" * 60_000 + b"1": "",
    b"1+" * 30_000 + b"1": "",
    b"1" * 5_000: "",
    b"{'msg': 0x" + b"f" * 5_000 + b"}": "",
    b"1if 1else'\\d'": "",
}


async def test_a_bad_line_is_answered_with_an_error_and_the_connection_goes_on(connect: Connect) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    for line, word in BAD.items():
        assert word in only_error(await alice.ask(line + b"\n"))
        await alice.send(topic, "still here")
        assert msgs(await alice.heard()) == ["still here"]


async def test_a_line_of_64_kib_is_accepted_and_a_longer_one_is_not(connect: Connect) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    room = LIMIT - len(GOOD.format(topic=topic, msg="").rstrip())
    assert msgs(await alice.ask(GOOD.format(topic=topic, msg="x" * room).encode())) == ["x" * room]
    only_error(await alice.ask(GOOD.format(topic=topic, msg="x" * (room + 1)).encode()))


async def send_at_once(peer: Peer, data: bytes) -> None:
    peer.writer.write(data)


async def send_in_pieces(peer: Peer, data: bytes) -> None:
    for start in range(0, len(data), 1000):
        peer.writer.write(data[start : start + 1000])
        await peer.writer.drain()


@pytest.mark.parametrize("send", [send_at_once, send_in_pieces])
@pytest.mark.parametrize("length", [LIMIT + 1, 3 * LIMIT, 1_000_000])
async def test_an_overlong_line_is_one_error_and_the_next_line_is_understood(
    connect: Connect, send: Any, length: int
) -> None:
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await send(alice, b"{" * length + b"\n" + GOOD.format(topic=topic, msg="next").encode())
    error, *messages = await alice.heard()
    only_error([error])
    assert msgs(messages) == ["next"]


@pytest.mark.parametrize("send", [send_at_once, send_in_pieces])
@pytest.mark.parametrize("byte", [b"{", b" "])
async def test_an_overlong_line_that_never_ends_is_one_error(connect: Connect, send: Any, byte: bytes) -> None:
    alice = await connect()
    await send(alice, byte * 200_000)
    only_error(await alice.end())


async def test_clients_that_break_off_do_not_disturb_the_others(connect: Connect) -> None:
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    for _ in range(20):
        gone = await connect()
        await gone.subscribe(topic)
        await bob.send(topic, *["x" * 10_000] * 10)  # some of it on its way when the connection breaks
        gone.reset()
    await bob.send(topic, "the end")
    assert msgs(await alice.heard())[-1] == "the end"
