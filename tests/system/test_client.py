"""`stages.client`: a client for any Python program."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from stages import basic, disconnects, serve, wire
from stages.beyond import acks, cluster, durable, replies
from stages.beyond.server import connection
from stages.client import Client, conversation, retries
from stages.client.addresses import addresses
from stages.client.follow import follow
from stages.patience import patient


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
    async with (
        serve.listening(disconnects.Server(), "127.0.0.1", 0) as port,
        await Client.connect(port) as alice,
    ):
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


async def test_iterating_ends_loudly_when_the_server_closes_the_connection() -> None:
    async with (
        serve.listening(disconnects.Server(), "127.0.0.1", 0) as port,
        await Client.connect(port) as alice,
    ):
        await alice.subscribe("foo")
        for number in range(3):
            await alice.send("foo", number)
        alice.writer.write(b"quit\n")
        heard = []
        with pytest.raises(EOFError, match="the server has closed the connection"):
            async for message in alice:
                heard.append(message["msg"])
        assert heard == [0, 1, 2]


async def test_a_rejected_command_is_an_error_that_says_why() -> None:
    async with (
        serve.listening(disconnects.Server(), "127.0.0.1", 0) as port,
        await Client.connect(port) as alice,
    ):
        await alice.send("foo", "hello", delivery="some")
        with pytest.raises(wire.Error, match="'delivery' must be 'all' or 'one': got 'some'"):
            await alice.receive()


async def test_a_pipeline_waits_for_its_answers_at_the_end_and_raises_the_first_refusal() -> None:
    async def send_many(bob: Client) -> None:
        async with bob.pipeline() as pipeline:
            for number in range(3000):
                await pipeline.send("foo", str(number))
            for delivery in ("some", "none", "all"):
                await pipeline.send("foo", "last", delivery=delivery)

    async with (
        serve.listening(acks.Server(), "127.0.0.1", 0) as port,
        await Client.connect(port) as alice,
        await Client.connect(port) as bob,
    ):
        await alice.subscribe("foo")
        with pytest.raises(wire.Error, match=r"Malformed json message .*some"):
            await send_many(bob)
        texts = [(await alice.receive())["msg"] for _ in range(3001)]
        assert texts == [*map(str, range(3000)), "last"]
        assert bob.answers == {}


async def test_nothing_is_kept_for_answers_that_nobody_waits_for() -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with (
        await asyncio.start_server(listen, "127.0.0.1", 0) as deaf,
        await connected_to(deaf) as client,
    ):
        with pytest.raises(TypeError):
            await client.send("foo", b"no JSON")
        assert client.answers == {}
        for asking in (client.send("foo", "x"), pipelined(client)):
            task = asyncio.create_task(asking)
            while not client.answers:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert client.answers == {}


async def pipelined(client: Client) -> None:
    async with client.pipeline() as pipeline:
        await pipeline.send("foo", "x")


async def test_a_pipeline_reads_what_it_is_sent_meanwhile() -> None:
    """Else a server that waits for us to read would no longer read what we send."""
    async with (
        serve.listening(acks.Server(), "127.0.0.1", 0) as port,
        await Client.connect(port) as alice,
        asyncio.timeout(patient(60)),
    ):
        await alice.subscribe("foo")
        async with alice.pipeline() as pipeline:
            for _ in range(3000):
                await pipeline.send("foo", "x" * 10_000)
        for index in range(3000):
            assert (await alice.receive())["index"] == index


async def test_a_pipeline_on_the_wire_of_the_article_sends() -> None:
    async with (
        serve.listening(disconnects.Server(), "127.0.0.1", 0) as port,
        await Client.connect(port) as alice,
        await Client.connect(port) as bob,
    ):
        await alice.subscribe("foo")
        async with bob.pipeline() as pipeline:
            await pipeline.send("foo", "hello")
        assert (await alice.receive())["msg"] == "hello"


async def saying(*said: bytes) -> asyncio.Server:
    """A server that says this, whatever it is asked, and closes the connection."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.writelines(said)
        writer.close()

    return await asyncio.start_server(say, "127.0.0.1", 0)


async def connected_to(server: asyncio.Server) -> Client:
    return await Client.connect(server.sockets[0].getsockname()[1], "127.0.0.1", speak="json")


HELLO = [b'{"command": "send", "msg": %d}\n' % number for number in range(2)]


async def test_messages_come_as_many_as_have_arrived_and_a_goodbye_after_them() -> None:
    goodbye = b'{"success": false, "reason": "Too slow"}\n'
    async with await saying(*HELLO, goodbye) as server, await connected_to(server) as client:
        assert [message["msg"] for message in await anext(client.arrivals())] == [0, 1]
        for _ in range(2):
            with pytest.raises(ConnectionAbortedError, match="Too slow"):
                await client.receive()


async def test_messages_before_garbage_are_received() -> None:
    async with await saying(*HELLO, b"}{\n") as server, await connected_to(server) as client:
        assert [(await client.receive())["msg"] for _ in HELLO] == [0, 1]
        with pytest.raises(wire.Error, match="does not talk like a stage"):
            await client.receive()


async def test_connecting_where_nobody_listens_is_an_oserror() -> None:
    async with serve.listening(disconnects.Server(), "127.0.0.1", 0) as port:
        pass
    with pytest.raises(OSError, match=str(port)):
        await Client.connect(port)


async def send(port: int, *msgs: object) -> None:
    """Send messages; at the end the server has taken them all."""
    async with await Client.connect(port) as client:
        for msg in msgs:
            await client.send("foo", msg)
        client.writer.write(b"quit\n")
        await client.reader.read()


async def test_following_misses_and_repeats_nothing_across_lost_connections() -> None:
    server, reports = disconnects.Server(), list[str]()
    async with serve.listening(server, "127.0.0.1", 0) as port:
        messages = follow(port, "foo", report=reports.append)
        await send(port, "a", "b")
        assert [(await anext(messages))["msg"] for _ in range(2)] == ["a", "b"]
    for number in range(3):
        async with serve.listening(server, "127.0.0.1", port):
            await send(port, number)
            assert (await anext(messages))["msg"] == number
    assert all(
        report.startswith(f"no connection to localhost:{port}, trying again in")
        for report in reports
    )
    assert len(reports) >= 3
    await messages.aclose()


async def test_following_reports_a_server_that_has_started_over_and_takes_all_its_messages() -> (
    None
):
    reports = list[str]()
    async with serve.listening(disconnects.Server(), "127.0.0.1", 0) as port:
        messages = follow(port, "foo", report=reports.append)
        await send(port, "a", "b", "c")
        assert [(await anext(messages))["msg"] for _ in range(3)] == ["a", "b", "c"]
    async with serve.listening(disconnects.Server(), "127.0.0.1", port):
        await send(port, "new", "newer")
        assert [(await anext(messages))["msg"] for _ in range(2)] == ["new", "newer"]
    assert reports[-1] == "the server has started over: foo is at index 1 again"
    await messages.aclose()


async def test_following_takes_each_message_once_of_a_server_that_is_already_ahead() -> None:
    reports = list[str]()
    async with serve.listening(disconnects.Server(), "127.0.0.1", 0) as port:
        messages = follow(port, "foo", last_seen=1, report=reports.append)
        await send(port, "a", "b", "c", "d")
        assert [(await anext(messages))["msg"] for _ in range(2)] == ["c", "d"]
    async with serve.listening(disconnects.Server(), "127.0.0.1", port):
        await send(port, 0, 1, 2, 3, 4)
        assert [(await anext(messages))["msg"] for _ in range(5)] == [0, 1, 2, 3, 4]
        await send(port, 5)
        assert (await anext(messages))["msg"] == 5
    assert [report for report in reports if "started over" in report] == [
        "the server has started over: foo is at index 4 again"
    ]
    await messages.aclose()


async def test_a_server_that_is_no_stage_is_named_as_such() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 5_000_000)
        writer.close()

    async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
        client = await Client.connect(server.sockets[0].getsockname()[1], "127.0.0.1")
        with pytest.raises(wire.Error, match="the server does not talk like a stage"):
            await client.receive()
        await client.close()


async def test_following_gives_up_after_the_attempts_allowed() -> None:
    async with serve.listening(disconnects.Server(), "127.0.0.1", 0) as port:
        pass
    reports = list[str]()
    with pytest.raises(ConnectionError, match=r"no connection to localhost:.* after 2 attempts"):
        await anext(follow(port, "foo", attempts=2, report=reports.append))
    assert len(reports) == 2


async def test_following_needs_a_server_that_numbers_its_messages() -> None:
    async with serve.listening(basic.Server(), "127.0.0.1", 0) as port:
        messages = follow(port, "foo")
        waiting = asyncio.ensure_future(anext(messages))
        while not waiting.done():  # until it has subscribed
            await send(port, "hello")
        with pytest.raises(wire.Error, match="expected stage last_seen or a later one"):
            await waiting


async def test_a_command_gives_its_answer_where_the_server_answers() -> None:
    async with (
        serve.listening(acks.Server(cache_length=1), "127.0.0.1", 0) as port,
        await Client.connect(port) as alice,
    ):
        for text in ("a", "b", "c"):
            assert await alice.send("foo", text) == {"success": True}
        assert await alice.subscribe("foo", last_seen=0) == {"success": True, "missed": 1}
        assert await alice.send("foo", "job", delivery="one") == {"success": True}
        assert [(await alice.receive())["msg"] for _ in range(2)] == ["c", "job"]
        assert await alice.unsubscribe("foo") == {"success": True}
        with pytest.raises(
            wire.Error, match=r"the server says: Malformed json message \(Invalid enum value 'some'"
        ):
            await alice.send("foo", "hello", delivery="some")
        with pytest.raises(
            wire.Error, match=r"Nothing to acknowledge \(message 3 of this topic is not with you"
        ):
            await alice.ack({"topic": "foo", "index": 3})
        await alice.write({"command": "nonsense"})
        with pytest.raises(wire.Error, match="the server says: Malformed json message"):
            await alice.receive()


async def test_work_is_acknowledged() -> None:
    server = acks.Server()
    async with serve.listening(server, "127.0.0.1", 0) as port, await Client.connect(port) as alice:
        await alice.subscribe("jobs", ack=True, prefetch=1)
        for text in ("a", "b"):
            await alice.send("jobs", text, delivery="one")
        for text in ("a", "b"):
            message = await alice.receive()
            assert message["msg"] == text
            await alice.ack(message)


async def test_tasks_may_share_a_client() -> None:
    async with (
        serve.listening(acks.Server(), "127.0.0.1", 0) as port,
        await Client.connect(port) as alice,
    ):
        await alice.subscribe("foo")
        receiving = [asyncio.create_task(alice.receive()) for _ in range(20)]
        answers = await asyncio.gather(*[alice.send("foo", str(n)) for n in range(20)])
        assert answers == [{"success": True}] * 20
        assert sorted(int(message["msg"]) for message in await asyncio.gather(*receiving)) == list(
            range(20)
        )


async def test_following_a_durable_server_goes_on_where_it_was(tmp_path: Path) -> None:
    reports, data = list[str](), str(tmp_path / "messages.db")
    async with serve.listening(durable.Server(data=data), "127.0.0.1", 0) as port:
        messages = follow(port, "foo", report=reports.append)
        await send(port, "a", "b")
        assert [(await anext(messages))["msg"] for _ in range(2)] == ["a", "b"]
    async with serve.listening(durable.Server(data=data), "127.0.0.1", port):
        await send(port, "c")
        message = await anext(messages)
        assert (message["msg"], message["index"]) == ("c", 2)
    assert all(report.startswith("no connection to") for report in reports)
    await messages.aclose()


async def test_following_survives_being_too_slow() -> None:
    conversations, reports = 0, list[str]()

    async def serve_badly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal conversations
        conversations += 1
        await reader.readline()
        writer.write(b'{"success": false, "reason": "Malformed json message"}\r\n')
        subscription = json.loads(await reader.readline())
        writer.write(json.dumps({"success": True, "id": subscription["id"]}).encode() + b"\r\n")
        message = {"command": "send", "topic": "foo", "msg": "a", "delivery": "all", "index": 0}
        writer.write(json.dumps(message).encode() + b"\r\n")
        if conversations == 1:
            writer.write(b'{"success": false, "reason": "Too slow"}\r\n')
        else:
            mark = json.loads(await reader.readline())
            refusal = {"success": False, "reason": "?", "id": mark["id"], "detail": mark["command"]}
            writer.write(json.dumps(refusal).encode())
            writer.write(
                b"\r\n" + json.dumps({**message, "msg": "b", "index": 1}).encode() + b"\r\n"
            )
        writer.close()

    async with await asyncio.start_server(serve_badly, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        messages = follow(port, "foo", host="127.0.0.1", report=reports.append)
        assert [(await anext(messages))["msg"] for _ in range(2)] == ["a", "b"]
        await messages.aclose()
    assert len(reports) == 1
    assert reports[0].endswith("(the server says: Too slow)")


async def test_a_server_that_closes_at_once_ends_the_conversation() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async with (
        await asyncio.start_server(close, "127.0.0.1", 0) as server,
        await Client.connect(server.sockets[0].getsockname()[1], "127.0.0.1") as client,
    ):
        with pytest.raises(EOFError):
            await client.receive()


# Several addresses


def test_a_port_or_addresses_say_where() -> None:
    assert addresses(7777, "here") == [("here", 7777)]
    assert addresses("7777, one:7778,[::1]:7779", "here") == [
        ("here", 7777),
        ("one", 7778),
        ("::1", 7779),
    ]
    for nowhere in ("one:", "", "one:0", "one:65536", "one:7777,", "one:x", 0):
        with pytest.raises(ValueError, match="no address of a server"):
            addresses(nowhere, "here")


async def test_it_connects_to_the_first_that_can_be_reached() -> None:
    async with (
        serve.listening(basic.Server(), "127.0.0.1", 0) as port,
        await Client.connect(f"127.0.0.1:1,127.0.0.1:{port}") as client,
    ):
        await client.subscribe("foo")
    with pytest.raises(ConnectionError):
        await Client.connect(f"127.0.0.1:1,127.0.0.1:{port}")


async def test_follow_goes_on_at_the_next_server_when_one_is_gone() -> None:
    reports = list[str]()
    async with AsyncExitStack() as second, AsyncExitStack() as first:
        ports = [
            await stack.enter_async_context(
                serve.listening(
                    cluster.Server(engine="memory", log="follow goes on"), "127.0.0.1", 0
                )
            )
            for stack in (first, second)
        ]
        there = ",".join(f"127.0.0.1:{port}" for port in ports)
        messages = follow(there, "foo", report=reports.append)
        coming = asyncio.create_task(anext(messages))
        async with await Client.connect(ports[1], "127.0.0.1") as bob:
            await bob.send("foo", "a")
            assert (await coming)["msg"] == "a"
            await bob.send("foo", "b")
            await first.aclose()
            await bob.send("foo", "c")
            assert [(await anext(messages))["msg"] for _ in "bc"] == ["b", "c"]
            await messages.aclose()
    assert f"trying 127.0.0.1:{ports[1]}" in reports[0]


async def test_follow_leaves_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "SILENCE", 0.2)
    reports = list[str]()

    class Deaf(replies.Server):
        """Stops hearing once it has said what it kept."""

        async def submit(self, client: int, data: bytes | None) -> Any:
            outgoing = await super().submit(client, data)
            if data and b"end-of-replay" in data:
                await asyncio.Event().wait()
            return outgoing

    async with (
        serve.listening(Deaf(), "127.0.0.1", 0) as deaf,
        serve.listening(replies.Server(), "127.0.0.1", 0) as sound,
        await Client.connect(sound, "127.0.0.1") as bob,
    ):
        await bob.send("foo", "a")
        messages = follow(f"127.0.0.1:{deaf},127.0.0.1:{sound}", "foo", report=reports.append)
        assert (await anext(messages))["msg"] == "a"
        await messages.aclose()
    assert len(reports) == 1


def test_it_knows_all_reasons_that_a_server_may_end_a_connection_with() -> None:
    reasons = connection.TOO_SLOW, connection.NOT_STORED, connection.NOT_KNOWN
    assert reasons == conversation.CLOSE_REASONS
