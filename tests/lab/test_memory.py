"""The network and the loops in memory keep the promises of those of a system, and a few more: they
are exact, and their time costs nothing."""

import asyncio
import errno
import gc
import importlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stages import basic, serve
from stages.client import Client
from stages.lab.judging.shared_tests import run_tests
from stages.lab.simulated import NotInABrowser, guests, network
from stages.lab.simulated.loop import Loop, Stuck

pytestmark = pytest.mark.slow

Main = Callable[[], Coroutine[Any, Any, None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Host(asyncio.SelectorEventLoop):
    """A loop of the system with the network in memory, as a browser's is."""

    create_server = network.create_server  # type: ignore[assignment]
    create_connection = network.create_connection  # type: ignore[assignment]


def run(
    main: Coroutine[Any, Any, None], loop: Callable[[], asyncio.AbstractEventLoop] = Loop
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "loop" in metafunc.fixturenames:
        metafunc.parametrize("loop", [Loop, Host])


@asynccontextmanager
async def both_sides() -> AsyncIterator[tuple[Streams, Streams]]:
    """The streams of a client, and of the server's side of its connection."""
    accepted: asyncio.Queue[Streams] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda *streams: accepted.put_nowait(streams), network.HOST, 0
    )
    async with server:
        client = await asyncio.open_connection(*server.sockets[0].getsockname())
        far = await accepted.get()
        yield client, far
        for _, writer in (client, far):
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


def end_of(writer: asyncio.StreamWriter) -> network.End:
    assert isinstance(writer.transport, network.End)
    return writer.transport


def test_what_is_sent_arrives_in_order_and_whole(loop: Callable[[], Loop]) -> None:
    async def main() -> None:
        async with both_sides() as ((_, writer), (reader, _)):
            sent = b"".join(b"%d " % number for number in range(500_000))
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == sent

    run(main(), loop)


def test_a_sender_waits_once_the_network_is_full_and_goes_on_when_there_is_room() -> None:
    async def main() -> None:
        async with both_sides() as ((reader, writer), (_, sender)):
            end_of(sender).capacity = 100
            end_of(writer).pause_reading()
            sender.transport.set_write_buffer_limits(high=50)
            sender.write(b"x" * 150)
            async with asyncio.timeout(1):
                await sender.drain()
            assert sender.transport.get_write_buffer_size() == 50
            sender.write(b"x")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await sender.drain()
            end_of(writer).resume_reading()
            await sender.drain()
            assert await reader.readexactly(151) == b"x" * 151

    run(main())


def test_a_line_that_comes_byte_by_byte_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.End, "piece", lambda _: 1)

    async def main() -> None:
        async with (
            serve.listening(basic.Server(), network.HOST, 0) as port,
            await Client.connect(port) as alice,
        ):
            await alice.subscribe("foo")
            await alice.send("foo", "hello")
            assert (await alice.receive())["msg"] == "hello"

    run(main())


def test_half_a_connection_can_be_closed() -> None:
    async def main() -> None:
        async with both_sides() as ((reader, writer), (far_reader, far_writer)):
            writer.write_eof()
            assert await far_reader.read() == b""
            far_writer.write(b"still here")
            far_writer.close()
            assert await reader.read() == b"still here"

    run(main())


def test_what_was_sent_before_a_close_still_arrives_and_what_comes_after_does_not() -> None:
    async def main() -> None:
        async with both_sides() as ((_, writer), (reader, far_writer)):
            writer.write(b"goodbye")
            writer.close()
            await writer.wait_closed()
            far_writer.write(b"too late")
            assert await reader.read() == b"goodbye"
            far_writer.write(b"too late")
            with pytest.raises(ConnectionError):
                await far_writer.drain()
                await far_writer.wait_closed()

    run(main())


def test_a_reset_is_an_error_at_the_other_end() -> None:
    async def main() -> None:
        async with both_sides() as ((_, writer), (reader, _)):
            end_of(writer).setsockopt(0, socket.SO_LINGER, b"")
            writer.transport.abort()
            with pytest.raises(ConnectionResetError):
                await reader.read()

    run(main())


def test_where_nobody_listens_a_connection_is_refused(loop: Callable[[], Loop]) -> None:
    async def main() -> None:
        async with await asyncio.start_server(print, network.HOST, 0) as server:
            address = server.sockets[0].getsockname()
            with pytest.raises(OSError, match="in use") as caught:
                await asyncio.start_server(print, *address)
            assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(ConnectionRefusedError, match=str(address[1])):
            await asyncio.open_connection(*address)

    run(main(), loop)


def test_where_others_wait_the_clock_goes_forward() -> None:
    async def main() -> None:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(10**9)
        assert asyncio.get_running_loop().time() - before >= 10**9

    run(main())


def test_waiting_for_what_never_comes_is_an_error() -> None:
    with pytest.raises(Stuck, match="nothing will ever happen"):
        run(asyncio.Event().wait())  # type: ignore[arg-type]


def test_a_server_in_the_background_takes_turns_with_the_loop_that_runs(
    loop: Callable[[], Loop],
) -> None:
    async def main() -> None:
        background = guests.Background(basic.Server())
        async with await Client.connect(background.port) as alice:
            await alice.subscribe("foo")
            for number in range(100):
                await alice.send("foo", number)
            assert [(await alice.receive())["msg"] for _ in range(100)] == [*range(100)]
        background.stop()
        with pytest.raises(ConnectionRefusedError):
            await background.connect(2**16)

    run(main(), loop)


def test_a_timer_of_a_server_in_the_background_fires_though_nobody_says_anything(
    loop: Callable[[], Loop],
) -> None:
    class Clock(basic.Server):
        async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
            await asyncio.sleep(0.01)
            client.write(b"tick\n")

    async def main() -> None:
        background = guests.Background(Clock())
        reader, writer = await background.connect(2**16)
        assert await reader.read() == b"tick\n"
        writer.close()
        background.stop()

    run(main(), loop)


class Hanging(basic.Server):
    async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
        while True:
            try:
                await asyncio.sleep(0)
                while True:
                    pass
            except Exception:
                continue


def test_a_server_that_hangs_is_interrupted_and_answers_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guests.WatchedLoop, "patience", 0.05)

    async def main() -> None:
        background = guests.watched(Hanging())
        for _ in range(2):
            reader, writer = await background.connect(2**16)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await reader.read()
            writer.transport.abort()
        background.stop()

    run(main())
    assert "Hangs: no end within 0.05 s in Hanging.handle_client, line" in caplog.text


def test_a_class_that_hangs_is_given_up_and_told_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests.WatchedLoop, "patience", 0.05)
    first, last = run_tests(Hanging, "basic", in_memory=True)
    assert first.fault.startswith("Hangs: no end within 0.05 s in Hanging.handle_client")
    assert "does not answer" in last.got


def test_there_is_no_tls() -> None:
    async def main() -> None:
        context = ssl.create_default_context()
        with pytest.raises(NotInABrowser, match="no TLS"):
            await asyncio.start_server(print, network.HOST, 0, ssl=context)
        with pytest.raises(NotInABrowser, match="no TLS"):
            await Client.connect(7777, ssl=context)

    run(main())


def test_a_server_that_exits_takes_nobody_with_it(caplog: pytest.LogCaptureFixture) -> None:
    class Exits(basic.Server):
        async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
            sys.exit()

    async def main() -> None:
        background = guests.watched(Exits())
        reader, writer = await background.connect(2**16)
        assert await reader.readline() == b""
        writer.transport.abort()
        background.stop()

    run(main())
    gc.collect()
    assert caplog.text == ""  # nor is told of it later, by whatever runs then


def test_a_server_that_does_not_want_to_end_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stubborn(basic.Server):
        async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
            try:
                await reader.read()
            finally:
                await asyncio.Event().wait()

    async def main() -> None:
        background = guests.Background(Stubborn())
        _, writer = await background.connect(2**16)
        await asyncio.sleep(0.01)
        background.stop()
        assert background.loop.is_closed()
        writer.transport.abort()

    run(main())
    gc.collect()
    assert caplog.text == ""


def test_a_timer_outlives_the_loop_that_woke_its_owner() -> None:
    class Late(basic.Server):
        async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
            await reader.read()
            await asyncio.sleep(0.1)
            late.set()

    late = asyncio.Event()

    class Caller(basic.Server):
        """Is connected to another server, and breaks off when it stops."""

        async def __aenter__(self) -> None:
            _, self.writer = await asyncio.open_connection(network.HOST, port)

        async def __aexit__(self, *_: object) -> None:
            self.writer.transport.abort()

    port = 0

    async def main() -> None:
        nonlocal port
        first = guests.Background(Late())
        port = first.port
        second = guests.Background(Caller())
        second.stop()
        await asyncio.sleep(1)  # which takes no time
        first.stop()
        assert late.is_set()

    run(main())


@pytest.mark.parametrize("outcome", ["result", "exception", "cancelled"])
def test_what_is_done_in_an_executor_is_told(
    outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> str:
        if outcome == "exception":
            raise ValueError("as it should")
        return "done"

    async def main() -> None:
        task = asyncio.create_task(asyncio.to_thread(work))
        await asyncio.sleep(0)
        if outcome == "cancelled":
            task.cancel()
        (came,) = await asyncio.gather(task, return_exceptions=True)
        assert (came if outcome == "result" else type(came).__name__) == {
            "result": "done",
            "exception": "ValueError",
            "cancelled": "CancelledError",
        }[outcome]
        await asyncio.sleep(0)

    run(main())
    assert caplog.text == ""


def test_clients_have_addresses_of_their_own() -> None:
    async def main() -> None:
        async with both_sides() as ((_, near), (_, far)), both_sides() as (_, (_, other)):
            assert far.get_extra_info("peername") == near.get_extra_info("sockname")
            assert far.get_extra_info("peername") != other.get_extra_info("peername")

    run(main())


tidied: list[str] = []


class Server(basic.Server):
    """As if it were in a module of its own."""

    async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
        try:
            await super().handle_client(reader, client)
        finally:
            tidied.append("handler")


def test_a_process_that_is_killed_tidies_up_nothing(loop: Callable[[], Loop]) -> None:
    async def main() -> None:
        process = guests.Process(__name__)
        reader, writer = await asyncio.open_connection(network.HOST, process.port)
        writer.write(b"nonsense\n")
        await reader.readline()
        process.kill()
        assert await reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(network.HOST, process.port)
        writer.close()

    tidied.clear()
    run(main(), loop)
    gc.collect()
    assert tidied == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="its SQLite always tidies up")
def test_a_process_that_is_killed_leaves_its_file_as_a_system_would(tmp_path: Path) -> None:
    data = tmp_path / "messages.db"

    async def main() -> None:
        process = guests.Process("stages.beyond.durable", "--data", str(data))
        client = await Client.connect(process.port, speak="json")
        await client.send("orders", "one pizza")
        process.kill()
        assert data.with_name("messages.db-wal").stat().st_size > 0
        after = guests.Process("stages.beyond.durable", "--data", str(data))
        async with await Client.connect(after.port, speak="json") as carol:
            await carol.subscribe("orders", last_seen=-1)
            assert (await carol.receive())["msg"] == "one pizza"
        client.writer.transport.abort()
        after.kill()

    run(main())


@pytest.mark.parametrize("stage", ["disconnects", "beyond.secure"])
def test_every_claim_that_holds_over_tcp_holds_in_memory(stage: str) -> None:
    server = importlib.import_module(f"stages.{stage}").Server
    claims = run_tests(server, stage.rpartition(".")[2], in_memory=True)
    assert len(claims) > 40
    assert [claim.explained() for claim in claims if not claim.held] == []
