"""`stages.client`: a client for any Python program."""

import asyncio

import pytest

from stages import disconnects, serve, wire
from stages.client import Client


async def test_what_one_client_sends_another_receives() -> None:
    async with (
        serve.listening(disconnects.Server(), "127.0.0.1", 0) as port,
        await Client.connect(port) as alice,
        await Client.connect(port) as bob,
    ):
        await alice.subscribe("foo")
        await bob.send("foo", "hello", delivery="all")
        assert (await alice.receive())["msg"] == "hello"


async def test_cancelling_a_receive_loses_no_message() -> None:
    async with serve.listening(disconnects.Server(), "127.0.0.1", 0) as port, await Client.connect(port) as alice:
        await alice.subscribe("foo")
        for number in range(50):
            waiting = asyncio.create_task(alice.receive())
            await alice.send("foo", number)
            for _ in range(number % 7):
                await asyncio.sleep(0)  # cancel at another moment each time
            if waiting.cancel():
                await asyncio.gather(waiting, return_exceptions=True)
            message = await alice.receive() if waiting.cancelled() else waiting.result()
            assert message["index"] == number


async def test_iterating_ends_when_the_server_closes_the_connection() -> None:
    async with serve.listening(disconnects.Server(), "127.0.0.1", 0) as port, await Client.connect(port) as alice:
        await alice.subscribe("foo")
        for number in range(3):
            await alice.send("foo", number)
        alice.writer.write(b"quit\n")
        assert [message["msg"] async for message in alice] == [0, 1, 2]


async def test_a_rejected_command_is_an_error_that_says_why() -> None:
    async with serve.listening(disconnects.Server(), "127.0.0.1", 0) as port, await Client.connect(port) as alice:
        await alice.send("foo", "hello", delivery="some")
        with pytest.raises(wire.Error, match="'delivery' must be 'all' or 'one': got 'some'"):
            await alice.receive()


async def test_connecting_where_nobody_listens_is_an_oserror() -> None:
    async with serve.listening(disconnects.Server(), "127.0.0.1", 0) as port:
        pass
    with pytest.raises(OSError, match=str(port)):
        await Client.connect(port)
