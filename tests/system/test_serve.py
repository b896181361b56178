"""Running a stage: what a fault tells, what is logged once, how many files may be open."""

import asyncio
import gc
import signal
import sys
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import pytest

from stages import basic, caching, command_line, delivery, serve
from stages.beyond import acks, cluster, durable
from stages.beyond.server.connection import Connection
from stages.command_line import Parser, build
from stages.lab.lessons import small
from stages.patience import patient
from stages.settings import settings_of, trial_settings
from stages.signals import wake_the_loop


class Faulty(basic.Server):
    def subscribe(self, command: Any, client: Any) -> None:
        raise KeyError("x")


async def test_a_fault_is_told_to_its_client_and_logged_and_the_others_are_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Faulty.subscribe.__code__.co_firstlineno + 1
    fault = f"KeyError: 'x' in Faulty.subscribe, line {line}"
    async with serve.listening(Faulty(), "127.0.0.1", 0) as port:
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"{'command': 'subscribe', 'topic': 'foo'}\n")
            assert (await reader.read()).decode() == f'{{"error": "the server failed: {fault}"}}\n'
            writer.close()
            await writer.wait_closed()
    assert [each for each in caplog.messages if "Failed" in each] == [f"Failed: {fault}"] * 2


async def test_nothing_is_kept_of_a_connection_that_has_ended() -> None:
    kept: WeakSet[Connection] = WeakSet()

    def connection(writer: asyncio.StreamWriter) -> Connection:
        kept.add(client := Connection(writer))
        return client

    async with serve.listening(basic.Server(), "127.0.0.1", 0, connection) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"quit\n")
        assert await reader.read() == b""
        writer.close()
        async with asyncio.timeout(patient(30)):
            while kept:
                await asyncio.sleep(0.01)
                gc.collect()


async def test_at_the_end_nobody_is_waited_for() -> None:
    class Waits:
        async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
            client.write(b"one moment\n")
            await asyncio.Event().wait()

    async with asyncio.timeout(patient(30)):
        async with serve.listening(Waits(), "127.0.0.1", 0) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.readline()
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.transport.abort()


def test_a_fault_of_ours_is_described_by_its_last_line() -> None:
    with pytest.raises(KeyError) as caught:
        caching.Server().keep({})
    assert caught.value.__traceback__
    alone = caught.value.with_traceback(caught.value.__traceback__.tb_next)
    assert serve.learners_frames(alone) == []
    assert serve.described(alone).startswith("KeyError: 'topic' in Server.keep, line ")


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [
        (1024, 1_000_000, 10_500),
        (1024, 4096, 4096),
        (1024, -1, 10_500),
        (10_500, 1_000_000, None),
        (-1, -1, None),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_needed_and_allowed(
    soft: int,
    hard: int,
    wanted: int | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    resource = pytest.importorskip("resource")
    chosen: list[Any] = []
    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: chosen.append(limits))
    command_line.allow_open_files()
    assert chosen == ([(wanted, hard)] if wanted else [])
    assert capsys.readouterr().err.startswith("this system allows 4096 open") == (hard == 4096)


def test_a_trial_has_the_same_lots_each_time_a_file_of_its_own_and_a_short_cache() -> None:
    class Mine(delivery.Server):
        def __init__(self) -> None:
            super().__init__()

    class Passing(delivery.Server):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)

    assert trial_settings(basic.Server, "/tmp") == {}
    assert trial_settings(Mine, "/tmp") == {}
    assert trial_settings(Passing, "/tmp") == {"seed": 42}
    assert trial_settings(acks.Server, "/tmp") == {"seed": 42}
    assert trial_settings(small.Journal, "/tmp")["data"] == "/tmp/messages.db"  # a learner's own
    chosen = trial_settings(durable.Server, "/tmp")
    assert chosen == {"seed": 42, "data": "/tmp/messages.db", "cache_length": 100}
    assert trial_settings(cluster.Server, "/tmp")["log"] == "/tmp"


@pytest.mark.parametrize(
    ("server", "settings", "problem"),
    [
        (delivery.Server, {"seed": 2**63}, r"seed must be less than 2\*\*63: got 9"),
        (delivery.Server, {"seed": -(2**63)}, r"seed must be less than 2\*\*63: got -9"),
        (caching.Server, {"cache_length": -1}, "cache_length must be at least 0: got -1"),
        (acks.Server, {"ack_timeout": 0}, "ack_timeout must be more than 0: got 0"),
        (acks.Server, {"ack_timeout": float("nan")}, "must be less than 2"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(server: Any, settings: Any, problem: str) -> None:
    usual = {each.name: each.default for each in settings_of(server)}
    with pytest.raises(ValueError, match=problem):
        build(server, usual | settings)


async def test_a_server_whose_setting_makes_no_sense_is_not_served() -> None:
    with pytest.raises(ValueError, match="cache_length must be at least 0: got -1"):
        async with serve.listening(caching.Server(cache_length=-1), "127.0.0.1", 0):
            pytest.fail("it serves")


def test_settings_at_their_borders_are_accepted() -> None:
    build(delivery.Server, {"seed": 2**63 - 1})
    assert caching.Server(cache_length=0).cache_length == 0
    assert acks.Server(ack_timeout=0.001).ack_timeout == 0.001
    for server in (caching.Server, acks.Server):
        with pytest.raises(TypeError, match="positional"):
            server(7)  # type: ignore[call-arg]


def test_the_help_tells_of_each_setting_its_meaning_and_default() -> None:
    parser = Parser()
    parser.add_settings(durable.Server)
    text = " ".join(parser.format_help().split())
    assert "--data DATA the file that keeps the messages (default: messages.db) " in text
    assert "--cache-length N messages kept of each topic (default: 10000) " in text
    assert "--seed N the same random choices each time, for the same N --" in text


@pytest.mark.skipif(sys.platform == "win32", reason="there, the loop does so by itself")
async def test_a_signal_that_comes_just_before_a_loop_waits_wakes_it() -> None:
    before = signal.set_wakeup_fd(-1)
    try:
        assert before == -1
        wake_the_loop()
        pipe = signal.set_wakeup_fd(-1)
        assert pipe != -1
        signal.set_wakeup_fd(pipe)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCONT)
    assert signal.set_wakeup_fd(-1) == -1
