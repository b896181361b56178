"""How a sender waits for its recipients, and what becomes of a client that is too slow."""

import asyncio
import json
import logging
import random
from typing import Any

import pytest
from peer import Message
from simulated import Link, run

from stages import serve
from stages.beyond import slow_consumers
from stages.beyond.broker import Outgoing
from stages.beyond.server.connection import Connection

# What follows needs time to pass, and so does not wait for it: network and clock are simulated.


class Simulated:
    """A client on a simulated network, and the lines that it has heard."""

    def __init__(self, server: slow_consumers.Server) -> None:
        self.data = b""
        self.link = Link(random.Random(42), self.receive, window=200)
        self.serving = asyncio.create_task(
            serve.serve_client(server, self.link.reader, Connection(self.link.writer))
        )

    def receive(self, data: bytes) -> None:
        self.data += data

    @property
    def heard(self) -> list[Message]:
        return [json.loads(line) for line in self.data.splitlines()]

    async def say(self, command: str, topic: str = "foo", **fields: Any) -> None:
        self.link.say(json.dumps({"command": command, "topic": topic, **fields}).encode() + b"\n")

    async def send(self, number: int, topic: str = "foo") -> None:
        """Send messages of 100 bytes, each with the next number."""
        for n in range(number):
            await self.say("send", topic, msg=f"{n} ".ljust(100, "x"), delivery="all", id=n)


SECOND = 1.0


async def flooded(server: slow_consumers.Server) -> tuple[Simulated, Simulated]:
    """A subscriber that has stopped reading, and a sender that sends more than it could keep."""
    subscriber, sender = Simulated(server), Simulated(server)
    await subscriber.say("subscribe")
    await asyncio.sleep(SECOND)
    subscriber.link.read(False)
    await sender.send(3000)
    return subscriber, sender


def test_a_publisher_that_does_not_read_its_answers_is_not_read_from_and_may_take_its_time() -> (
    None
):
    async def story() -> None:
        server = slow_consumers.Server(high_water=300)
        publisher = Simulated(server)
        publisher.link.read(False)
        await publisher.send(3000)
        await asyncio.sleep(100 * SECOND)
        assert 0 < server.broker.topics["foo"].next_index < 3000
        publisher.link.read(True)
        await asyncio.sleep(100 * SECOND)
        assert [answer["id"] for answer in publisher.heard] == list(range(3000))

    run(story())


def test_a_sender_waits_for_a_subscriber_and_goes_on_when_it_reads() -> None:
    async def story() -> None:
        server = slow_consumers.Server(high_water=300, write_timeout=60 * SECOND)
        subscriber, sender = await flooded(server)
        await asyncio.sleep(10 * SECOND)
        assert 0 < server.broker.topics["foo"].next_index < 3000
        subscriber.link.read(True)
        await asyncio.sleep(100 * SECOND)
        assert [message["index"] for message in subscriber.heard[1:]] == list(range(3000))
        assert len(sender.heard) == 3000

    run(story())


def test_a_client_that_is_too_slow_is_told_why_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        server = slow_consumers.Server(high_water=300, write_timeout=2 * SECOND)
        subscriber, sender = await flooded(server)
        await asyncio.sleep(1.9 * SECOND)
        assert "foo" in server.broker.topics_of[1]
        await asyncio.sleep(100 * SECOND)
        assert server.broker.topics_of == {}
        assert subscriber.serving.done()
        assert len(sender.heard) == 3000

    with caplog.at_level(logging.WARNING, "stages"):
        run(story())
    assert caplog.messages == ["Too slow: a client has not read for 2 s"]


def test_a_client_is_given_up_once_and_not_when_it_is_leaving(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        server = slow_consumers.Server(write_timeout=2 * SECOND)
        slow, leaving = Simulated(server), Simulated(server)
        await asyncio.sleep(SECOND)
        outbox = server.outboxes[1]
        await asyncio.gather(*[server.disconnect_slow(1, outbox) for _ in range(2)])
        outbox = server.outboxes[2]
        leaving.link.end()
        await asyncio.sleep(SECOND)
        await server.disconnect_slow(2, outbox)
        assert (slow.heard, leaving.heard) == ([{"success": False, "reason": "Too slow"}], [])

    with caplog.at_level(logging.WARNING, "stages"):
        run(story())
    assert caplog.messages == ["Too slow: a client has not read for 2 s"]


def test_a_client_that_was_too_slow_and_then_reads_learns_why() -> None:
    async def story() -> None:
        server = slow_consumers.Server(high_water=300, write_timeout=2 * SECOND)
        subscriber, _sender = await flooded(server)
        while not server.outboxes[1].dismissed:
            await asyncio.sleep(0.1 * SECOND)
        subscriber.link.read(True)
        await asyncio.sleep(10 * SECOND)
        assert subscriber.heard[-1] == {"success": False, "reason": "Too slow"}

    run(story())


def test_one_that_is_dismissed_is_not_read_from_any_more() -> None:
    async def story() -> None:
        server = slow_consumers.Server(high_water=300, write_timeout=2 * SECOND)
        subscriber, sender = Simulated(server), Simulated(server)
        await subscriber.say("subscribe")
        await subscriber.say("subscribe", "bar")
        await asyncio.sleep(SECOND)
        subscriber.link.read(False)
        await sender.send(3000)
        while 1 in server.broker.topics_of:
            await subscriber.say("send", "other", msg="x", delivery="all")
            await asyncio.sleep(0.1 * SECOND)
        sent = server.broker.topics["other"].next_index
        await subscriber.say("send", "other", msg="x", delivery="all")
        await subscriber.say("subscribe")
        await asyncio.sleep(10 * SECOND)
        assert server.broker.topics["other"].next_index <= sent + 1
        assert server.broker.topics_of == {}

    run(story())


def test_nobody_waits_for_a_stuck_subscriber_of_a_topic_it_does_not_send_to() -> None:
    async def story() -> None:
        server = slow_consumers.Server(high_water=300, write_timeout=1000 * SECOND)
        stuck, sender, other = [Simulated(server) for _ in range(3)]
        await stuck.say("subscribe")
        await asyncio.sleep(SECOND)
        stuck.link.read(False)
        await sender.send(3000)
        await asyncio.sleep(10 * SECOND)
        await other.send(3000, "bar")
        await asyncio.sleep(100 * SECOND)
        assert len(other.heard) == 3000
        assert len(sender.heard) < 3000

    run(story())


def test_a_long_replay_goes_out_as_there_is_room() -> None:
    async def story() -> None:
        server = slow_consumers.Server(high_water=300)
        sender, subscriber = Simulated(server), Simulated(server)
        await sender.send(100)
        await asyncio.sleep(10 * SECOND)
        subscriber.link.read(False)
        await subscriber.say("subscribe")
        await asyncio.sleep(10 * SECOND)
        outbox = server.outboxes[2]
        assert outbox.connection.size < 500
        assert outbox.passed_on < 10
        subscriber.link.read(True)
        await asyncio.sleep(10 * SECOND)
        assert [message["index"] for message in subscriber.heard[1:]] == list(range(100))

    run(story())


@pytest.mark.parametrize(
    ("setting", "problem"), [("high_water", "at least 1"), ("write_timeout", "more than 0")]
)
def test_a_setting_that_makes_no_sense_is_rejected(setting: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be {problem}: got 0"):
        slow_consumers.Server(**{setting: 0})


def test_a_client_that_was_given_up_has_nothing_more_done() -> None:
    class GivesUp(slow_consumers.Server):
        async def submit(self, client: int, data: bytes | None) -> Outgoing:
            if data:
                self.outboxes[client].dismiss({"success": False, "reason": "Too slow"}, SECOND)
                carried_out.append(data)
            return await super().submit(client, data)

    carried_out: list[bytes] = []

    async def story() -> None:
        client = Simulated(GivesUp())
        await client.send(1000)
        await client.serving

    run(story())
    assert len(carried_out) == 1


def test_nothing_is_kept_of_a_client_that_is_gone() -> None:
    async def story() -> None:
        server = slow_consumers.Server()
        for _ in range(3):
            client = Simulated(server)
            await client.say("subscribe")
            await asyncio.sleep(SECOND)
            client.link.end()
            await asyncio.sleep(SECOND)
        assert (server.outboxes, server.connections, server.broker.topics_of) == ({}, {}, {})

    run(story())
