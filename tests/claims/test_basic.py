"""What `basic` introduces, and every later stage keeps."""

import asyncio
from contextlib import closing, suppress

import pytest
from given import Connect
from peer import DEPTH, Peer, fresh_topic, msgs, only_error, patiently
from target import Address


async def test_a_message_reaches_every_subscriber_of_its_topic(connect: Connect) -> None:
    """Write each message to every client that has subscribed to exactly this topic."""
    topic, alice, bob, carol = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic)
    await bob.subscribe(topic)
    await carol.send(topic, "hello")
    assert msgs(await alice.heard()) == ["hello"]
    assert msgs(await bob.heard()) == ["hello"]


async def test_a_message_reaches_nobody_else(connect: Connect) -> None:
    """Compare whole topic names, and write to no client that has not subscribed."""
    topic, alice, bob, carol = fresh_topic(), await connect(), await connect(), await connect()
    await alice.subscribe(topic)
    for other in (fresh_topic(), topic[:-1], f"{topic}x", topic.upper(), ""):
        await bob.subscribe(other)
    await carol.send(topic, "hello")
    assert await bob.heard() == []
    assert await carol.heard() == []
    assert msgs(await alice.heard()) == ["hello"]


async def test_messages_arrive_in_the_order_sent(connect: Connect) -> None:
    """Write a message before you read the next command, and never to two clients in parallel."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    texts = [f"message {n}" for n in range(1000)]
    await bob.send(topic, *texts)
    assert msgs(await alice.heard()) == texts


async def test_a_sender_that_subscribed_hears_itself(connect: Connect) -> None:
    """The sender is a subscriber like any other."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "hello")
    assert msgs(await alice.heard()) == ["hello"]


async def test_subscribing_twice_does_not_deliver_twice(connect: Connect) -> None:
    """Keep the subscribers in a set (or in the keys of a dict), not in a list."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.subscribe(topic)
    await alice.send(topic, "hello")
    assert msgs(await alice.heard()) == ["hello"]


@pytest.mark.until("disconnects")
async def test_the_whole_command_is_delivered_with_fields_the_server_does_not_know(
    connect: Connect,
) -> None:
    """Pass on the whole dict that was sent, not just the fields that you know."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.send(topic, "hello", priority=7, tags=["a", "b"], **{"two words": None})
    expected = {
        "command": "send",
        "topic": topic,
        "msg": "hello",
        "priority": 7,
        "tags": ["a", "b"],
        "two words": None,
    }
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
    """Escape texts as Python does: quotes, backslashes, line ends, control characters, lone
    surrogates."""
    alice = await connect()
    for text in TEXTS:
        topic = fresh_topic() + text
        await alice.subscribe(topic)
        await alice.send(topic, text)
        assert msgs(await alice.heard()) == [text]


@pytest.mark.until("disconnects")
async def test_any_literal_can_be_a_message(connect: Connect) -> None:
    """A message is any Python literal: None, numbers, bytes, tuples, lists, dicts."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    for msg in (None, True, -1, 1.5, 2 + 3j, b"\xff\0", (1, [2, {3: {4}}]), "x" * 60_000):
        await alice.send(topic, msg)
        assert msgs(await alice.heard()) == [msg]


async def test_lines_may_end_in_crlf_and_blank_lines_are_ignored(connect: Connect) -> None:
    """Strip white space from both ends of a line, and skip it if nothing is left."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    line = alice.line(command="send", topic=topic, msg="hello").rstrip()
    assert msgs(await alice.ask(b"\n\r\n  \t \n" + line + b"\r\n")) == ["hello"]


async def test_a_line_may_arrive_in_small_pieces(connect: Connect) -> None:
    """What one read gives is not a line: collect bytes until a newline, and decode only then."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.write(alice.line(command="send", topic=topic, msg="🐇"), piece=1)
    assert msgs(await alice.heard()) == ["🐇"]


async def test_quit_ends_the_connection_and_what_follows_is_not_read(connect: Connect) -> None:
    """On a line that says quit, stop reading, send what is unsent, and close the connection."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    await bob.send(topic, "before")
    await bob.write(b" quit \r\n" + bob.line(command="send", topic=topic, msg="after"))
    assert await bob.rest() == []
    assert msgs(await alice.heard()) == ["before"]


async def test_end_of_file_ends_the_connection_after_a_last_line_without_newline(
    connect: Connect,
) -> None:
    """At the end of file, handle what is left as a line, then close. A client may close just its
    own half."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    await alice.write(alice.line(command="send", topic=topic, msg="last words").rstrip())
    assert msgs(await alice.end()) == ["last words"]


# What must be answered with an error line, and a word that must be in it.
BAD = {
    b"hello": "",
    b"{'command': 'subscribe', 'topic': foo}": "",
    b"{'command': 'subscribe'": "",
    b"[1, 2]": "dict",
    b"{'topic': 'foo'}": "command",
    b"{'command': 'publish', 'topic': 'foo'}": "publish",
    b"{'command': ['send'], 'topic': 'foo'}": "command",
    b"{'command': '__init__', 'topic': 'foo'}": "command",
    b"{'command': 'subscribe'}": "topic",
    b"{'command': 'subscribe', 'topic': 7}": "topic",
    b"{'command': 'send', 'topic': None, 'msg': 1}": "topic",
    b"{'command': 'send', 'topic': 'foo'}": "msg",
    b"{'command': 'send', 'topic': 'foo', 'msg': str(1)}": "",
    b"quitting": "",
}

# What nobody types, and what a parser may stumble over.
HOSTILE = (
    b"\xff\xfe",
    b"\0",
    b"{[]: 1}",
    b"{'command': 'send', 'topic': 'foo', 'msg': 1e999}",
    b"{'command': 'send', 'topic': 'foo', 'msg': ...}",
    b"[" * DEPTH,
    b"-" * DEPTH + b"1",
    b"1+" * (DEPTH // 2) + b"1",
    b"1" * 5_000,
    b"{'command': 'send', 'topic': 'foo', 'msg': 0x" + b"f" * 5_000 + b"}",
    b"1if 1else'\\d'",
)


async def is_refused(peer: Peer, topic: str, line: bytes, word: str) -> None:
    """A line is answered with one error, which names what is wrong, and the connection goes on."""
    assert word in only_error(await peer.ask(line + b"\n"))
    await peer.send(topic, "still here")
    assert msgs(await peer.heard()) == ["still here"]


@pytest.mark.until("disconnects")
async def test_a_bad_line_is_answered_with_an_error_and_the_connection_goes_on(
    connect: Connect,
) -> None:
    """Answer {'error': '...'} that names the field, and repeats a command that you do not know; say
    "dict" if it is none. Change nothing, and read on."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    for line, word in BAD.items():
        await is_refused(alice, topic, line, word)


@pytest.mark.hardening
async def test_a_line_that_is_no_text_or_no_literal_is_answered_like_any_other_bad_one(
    connect: Connect,
) -> None:
    """Decoding may raise UnicodeDecodeError; `json.loads` ValueError and RecursionError; literal_eval
    SyntaxError, ValueError, TypeError, MemoryError and RecursionError. In literals, what cannot be read back by literal_eval is no literal: inf,
    Ellipsis."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    for line in HOSTILE:
        await is_refused(alice, topic, line, "")


@pytest.mark.hardening
@pytest.mark.until("disconnects")
async def test_a_line_of_64_kib_is_accepted_and_a_longer_one_is_not(connect: Connect) -> None:
    """The limit is 65536 bytes, without the newline."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    room = 65536 - len(alice.line(command="send", topic=topic, msg="").rstrip())
    assert msgs(await alice.ask(alice.line(command="send", topic=topic, msg="x" * room))) == [
        "x" * room
    ]
    only_error(await alice.ask(alice.line(command="send", topic=topic, msg="x" * (room + 1))))


@pytest.mark.hardening
async def test_an_overlong_line_is_one_error_and_the_next_line_is_understood(
    connect: Connect,
) -> None:
    """A line over the limit must not fill your memory, nor be cut in two: skip it up to its end,
    and answer once."""
    topic, alice = fresh_topic(), await connect()
    await alice.subscribe(topic)
    for length in (alice.limit + 1, 3 * alice.limit):
        for piece in (length // 50, length):
            await alice.write(
                b"{" * length + b"\n" + alice.line(command="send", topic=topic, msg="next"), piece
            )
            answers = await alice.heard()
            only_error(answers[:1])
            assert msgs(answers[1:]) == ["next"]


@pytest.mark.hardening
async def test_an_overlong_line_that_never_ends_is_one_error(connect: Connect) -> None:
    """The end of file ends the last line as well, also one that is too long; so it has an
    answer."""
    for character in b"{ ":
        for pieces in (1, 50):
            alice = await connect()
            data = bytes([character]) * 3 * alice.limit
            await alice.write(data, len(data) // pieces)
            only_error(await alice.end())


@pytest.mark.slow
async def test_clients_that_break_off_do_not_disturb_the_others(connect: Connect) -> None:
    """Writing to a client that is gone may fail: that must not end the loop over the others."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    for _ in range(20):
        gone = await connect()
        await gone.subscribe(topic)
        await bob.send(
            topic, *["x" * 10_000] * 10
        )  # some of it on its way when the connection breaks
        gone.reset()
    await bob.send(topic, "the end")
    assert msgs(await alice.heard())[-1] == "the end"


async def until_closed(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):  # it need not read to the end
        await reader.read()


@pytest.mark.hardening
@pytest.mark.by_address
async def test_nothing_that_a_browser_posts_is_carried_out(
    connect: Connect, address: Address
) -> None:
    """Close a connection whose first line is one of HTTP, and carry out none of its lines: any page
    that somebody visits can make the browser post some to your port."""
    topic, alice, bob = fresh_topic(), await connect(), await connect()
    await alice.subscribe(topic)
    body = alice.line(command="send", topic=topic, msg="posted")
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(*address)
    with closing(writer):
        writer.write(head.encode() + body)
        writer.write_eof()
        await patiently(until_closed(reader), "the server to close the connection")
    await bob.send(topic, "sent")
    assert msgs(await alice.heard()) == ["sent"]
