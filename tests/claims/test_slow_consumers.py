"""What `slow_consumers` introduces."""

import pytest
from given import Connect
from peer import Peer, fresh_topic, msgs


@pytest.mark.slow
async def test_a_subscriber_that_does_not_read_is_disconnected(connect: Connect) -> None:
    """If a subscriber has over 1 MiB unsent, read no more from the sender; if that lasts a second,
    disconnect it."""
    topic, stuck, sender = fresh_topic(), await connect(), await connect()
    await stuck.subscribe(topic)
    stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await flood(sender, topic)
    stuck.writer.write(b"quit\n")
    stuck.writer.transport.resume_reading()  # type: ignore[attr-defined]
    received = 0
    try:
        while data := await stuck.reader.read(2**20):
            received += len(data)
    except OSError:
        pass  # the connection was reset
    assert received < 16_000_000


@pytest.mark.slow
async def test_a_subscriber_that_was_too_slow_gets_no_more_work(connect: Connect) -> None:
    """A client that is too slow is no longer subscribed, from the moment it is given up."""
    topic, stuck, sender, alice = fresh_topic(), await connect(), await connect(), await connect()
    await stuck.subscribe(topic)
    stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await flood(sender, topic)
    await sender.send(topic, "job", delivery="one")
    assert "job" in msgs(await alice.subscribe(topic))


async def flood(sender: Peer, topic: str) -> None:
    """Send 16 MB, more than the system's own buffers hold."""
    line = sender.line(command="send", topic=topic, msg="x" * 50_000, cache=False)
    for _ in range(320):
        sender.writer.write(line)
        await sender.writer.drain()
    await sender.settle()
