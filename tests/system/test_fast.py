"""`fast` promises nothing new: it keeps what the stages before it promise, and does less for it.

How fast it is is no test's business (see `stages.lab.bench`); here it is counted what must not grow.
"""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from claim_bench import Bench, claims_of
from histories import state_of
from hypothesis import given
from hypothesis import strategies as st
from judged import judged
from programs import ROOT, started

from stages.beyond import acks, durable, fast
from stages.beyond.broker import Batch, Outgoing, Rules, commands
from stages.beyond.server import whole_lines
from stages.beyond.server.connection import Connection
from stages.lab.lessons.fast.steps import Deaf
from stages.patience import patient

SEND = {"command": "send", "topic": "news", "msg": "x", "delivery": "all"}


TOO_LONG = b"x" * (commands.LIMIT + 1)


def lines(*said: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in said)


# The same promises


class InMemory(fast.Server):
    """Without a file."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, cache_length=100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "claim"),
    [
        pytest.param(page, claim, id=claim)
        for page in ("replies", "slow_consumers", "acks")
        for claim in claims_of(page)
    ],
)
async def test_without_a_file_it_keeps_the_promises_of_the_stages_before_durable(
    page: str, claim: str, tmp_path: Path
) -> None:
    await Bench(InMemory, tmp_path).run(claims_of(page)[claim])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("first", "then"), [(durable, fast), (fast, durable)])
async def test_it_goes_on_with_a_file_of_durable_and_durable_with_its(
    first: Any, then: Any, tmp_path: Path
) -> None:
    said = lines(*[SEND] * 3, SEND | {"delivery": "one"})
    before, after = (kind.Server(data=str(tmp_path / "messages.db")) for kind in (first, then))
    async with before:
        before.connected(1, Connection(FakeWriter()))  # type: ignore[arg-type]
        await before.submit(1, said)
    async with after:
        kept = after.broker.kept()["news"]
    assert [message.index for message in kept.messages] == [0, 1, 2, 3]
    assert kept.next_index == 4


class FakeWriter(Deaf):
    """A writer that counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written += [data] if data else []


# Whole batches mean what single lines do


def anything_said(rng: random.Random) -> bytes:
    """A line that somebody may say."""
    topic = rng.choice(["news", "more news", "jobs"])
    identified = {"id": rng.randrange(100)} if rng.random() < 0.5 else {}
    send = {
        "command": "send",
        "topic": topic,
        "msg": rng.choice(["a", "ä\n", "\ud800"]),
    } | identified
    match rng.choices(range(8), [20, 4, 3, 1, 3, 1, 1, 1])[0]:
        case 0:
            cache = {"cache": rng.random() < 0.5} if rng.random() < 0.3 else {}
            return lines(send | {"delivery": "all"} | cache)
        case 1:
            return lines(send | {"delivery": "one"})
        case 2:
            seen = {"last_seen": rng.randrange(10)} if rng.random() < 0.5 else {}
            ack = {"ack": True, "prefetch": 2} if topic == "jobs" else {}
            return lines({"command": "subscribe", "topic": topic, **seen, **ack, **identified})
        case 3:
            return lines({"command": "unsubscribe", "topic": topic} | identified)
        case 4:
            return lines(
                {"command": "ack", "topic": "jobs", "index": rng.randrange(9)} | identified
            )
        case 5:
            return rng.choice([b"", b"   ", b"\r"])
        case 6:
            return rng.choice(
                [b"oops", b"\xff", b"[" * 9999, lines(send), TOO_LONG, b" " * len(TOO_LONG)]
            )
        case _:  # two on a line, and one on two lines: neither is a command
            whole = lines(send | {"delivery": "all"})
            return rng.choice([whole + b" " + whole, whole.replace(b",", b",\n", 1)])


def heard(parts: list[Outgoing]) -> dict[int, list[dict[str, Any]]]:
    """What each client is sent, one line after the other."""
    streams: dict[int, bytes] = defaultdict(bytes)
    for clients, what in [pair for part in parts for pair in part]:
        for client in clients:
            streams[client] += b"".join(map(commands.encode, what))
    return {
        client: [json.loads(line) for line in stream.split(b"\r\n")[:-1]]
        for client, stream in streams.items()
    }


def messages(stream: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in stream if "command" in line]


def answers(stream: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Each answer, with how many messages came before it."""
    before, found = 0, []
    for line in stream:
        if "command" in line:
            before += 1
        else:
            found.append((line, before))
    return found


def without_blanks(data: bytes) -> bytes:
    """What the stages before give to their broker."""
    said = [line for line in data.split(b"\n") if line.strip() or len(line) > commands.LIMIT]
    return b"\n".join(said)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_whole_batches_mean_what_single_lines_do(seed: int) -> None:
    rng = random.Random(seed)
    plain, whole = (kind(Rules(cache_length=5, seed=seed)) for kind in (acks.Broker, fast.Broker))
    for time in range(20):
        said = [
            (client, b"\n".join(anything_said(rng) for _ in range(rng.randint(1, 12))))
            for client in rng.sample([1, 2, 3], rng.randint(1, 3))
        ]
        in_lines: list[tuple[int, bytes | None]] = [
            (n, without_blanks(data)) for n, data in said if without_blanks(data)
        ]
        expected = heard(plain.carry_out(Batch(time, in_lines)))
        got = heard(whole.carry_out(Batch(time, [*said])))
        assert got.keys() == expected.keys()
        for client in got:
            assert messages(got[client]) == messages(expected[client])
            for (mine, after), (theirs, before) in zip(
                answers(got[client]), answers(expected[client]), strict=True
            ):
                assert mine == theirs
                assert after >= before, "an answer came before what its command has caused"
        assert state_of(whole) == state_of(plain)


def test_a_subscriber_is_answered_before_it_gets_what_was_kept() -> None:
    broker = fast.Broker()
    said = lines(SEND, SEND, {"command": "subscribe", "topic": "news"}, SEND)
    stream = heard(broker.carry_out(Batch(0, [(1, said)])))[1]
    assert [line.get("index", "answer") for line in stream] == [
        *("answer", "answer"),
        *("answer", 0, 1),
        *(2, "answer"),
    ]


# What must not grow


class Counting:
    """Counts what an encoder or a decoder is asked for."""

    def __init__(self, coder: Any) -> None:
        self.coder = coder
        self.type = getattr(coder, "type", None)
        self.counts: Counter[str] = Counter()

    def decode(self, line: bytes) -> Any:
        self.counts["decoded"] += 1
        return self.coder.decode(line)

    def encode(self, what: Any) -> bytes:
        self.counts["encoded"] += 1
        encoded: bytes = self.coder.encode(what)
        return encoded

    def encode_lines(self, what: list[Any]) -> bytes:
        self.counts["calls"] += 1
        self.counts["encoded"] += len(what)
        encoded: bytes = self.coder.encode_lines(what)
        return encoded


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting(commands.encoder)
    monkeypatch.setattr(commands, "encoder", counting)
    return counting


def subscribed(broker: fast.Broker, *topics: str, clients: int = 1) -> None:
    for client in range(1, clients + 1):
        said = [{"command": "subscribe", "topic": topic} for topic in topics]
        broker.carry_out(Batch(0, [(client, lines(*said))]))


def test_a_message_is_encoded_once_for_a_hundred_subscribers(encoder: Counting) -> None:
    broker = fast.Broker()
    subscribed(broker, "news", clients=100)
    ((recipients, what), _) = broker.carry_out(Batch(0, [(200, lines(*[SEND] * 50))]))[1]
    assert len(recipients) == 100
    assert [isinstance(each, bytes) for each in what] == [True]
    assert encoder.counts == {"calls": 2, "encoded": 50 + 50}  # the messages, and their answers


def test_messages_of_alternating_topics_are_encoded_together(encoder: Counting) -> None:
    broker = fast.Broker()
    subscribed(broker, "news", "more news")
    said = lines(*[SEND, SEND | {"topic": "more news"}] * 25)
    broker.carry_out(Batch(0, [(2, said)]))
    assert encoder.counts["calls"] == 2


def test_a_line_is_decoded_once_and_twice_at_most_if_one_beside_it_is_bad() -> None:
    broker = fast.Broker()
    broker.decoder = counting = Counting(broker.decoder)  # type: ignore[assignment]
    broker.carry_out(Batch(0, [(1, lines(*[SEND] * 50))]))
    assert counting.counts["decoded"] == 50
    broker.carry_out(Batch(0, [(1, lines(*[SEND] * 50) + b"\noops")]))
    assert counting.counts["decoded"] <= 50 + 2 * 51


async def served(server: fast.Server, *said: bytes) -> list[FakeWriter]:
    """Serve clients that have said all they have to say before the server begins."""
    writers = [FakeWriter() for _ in said]
    handlers = []
    for data, writer in zip(said, writers, strict=True):
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        handlers.append(server.handle_client(reader, Connection(writer)))  # type: ignore[arg-type]
    await asyncio.gather(*handlers)
    return writers


async def test_a_client_gets_one_write_for_a_batch() -> None:
    said = lines({"command": "subscribe", "topic": "news"}, *[SEND] * 500)
    (alone,) = await served(fast.Server(), said + b"\n")
    assert len(alone.written) == 1
    assert alone.written[0].count(b"\r\n") == 1 + 500 + 500


class Noting(fast.Server):
    """Notes whose batches it carries out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.turns: list[tuple[int, int]] = []

    async def submit(self, client: int, data: bytes | None) -> Outgoing:
        if data is not None:
            self.turns.append((client, data.count(b"\n") + 1))
        return await super().submit(client, data)


async def test_a_flood_holds_up_the_others_for_one_batch() -> None:
    server = Noting()
    most = server.lines_in_turn
    await served(server, b"x\n" * 5 * most, lines(SEND))
    assert server.turns[:2] == [(1, most), (2, 1)]
    assert max(size for _, size in server.turns) == most
    assert sum(size for client, size in server.turns if client == 1) == 5 * most


# Cutting after line breaks


@given(st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\r\n", b"c\nd\n", b"x" * 3])), st.randoms())
def test_cutting_anywhere_gives_the_same_lines(pieces: list[bytes], rng: random.Random) -> None:
    stream = b"".join(pieces)
    cuts = sorted(rng.randint(0, len(stream)) for _ in range(5))
    parts = [stream[i:j] for i, j in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = whole_lines.WholeLines()
    got = [whole.feed(part) for part in [*filter(None, parts), b""]]
    assert without_blanks(b"\n".join(got)) == without_blanks(stream)


def test_of_a_line_that_is_too_long_only_the_beginning_is_kept() -> None:
    whole = whole_lines.WholeLines()
    for _ in range(50):
        assert whole.feed(b"x" * 2**16) == b""
    assert len(whole.rest) == commands.LIMIT + 1
    assert whole.feed(b"\nshort\nbegun") == b"x" * (commands.LIMIT + 1) + b"\nshort"
    assert whole.feed(b"") == b"begun"


async def test_what_comes_after_quit_is_not_heard() -> None:
    server = Noting()
    (writer,) = await served(server, lines(SEND) + b"\nquit\n" + lines(SEND, SEND))
    assert server.turns == [(1, 1)]
    (writer,) = await served(server, lines(SEND | {"msg": "do not quit"}, SEND) + b"\n")
    assert server.turns[1:] == [(2, 2)]
    assert b"".join(writer.written).count(b"true") == 2


@pytest.mark.slow
def test_the_program_runs_on_uvloop_if_it_is_installed() -> None:
    pytest.importorskip("uvloop")
    code = (
        "import runpy, stages.command_line as it; it.main = lambda *said: print(said[1].__module__);"
        "runpy.run_module('stages.beyond.fast', run_name='__main__')"
    )
    asked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert asked.stdout == "uvloop\n"


@pytest.mark.slow
def test_it_works_without_uvloop() -> None:
    code = (
        "import sys, runpy; sys.modules['uvloop'] = None; sys.argv[1:] = ['0', '--quiet'];"
        "runpy.run_module('stages.beyond.fast', run_name='__main__', alter_sys=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("localhost", port), timeout=patient(30)) as client:
            client.sendall(lines(SEND) + b"\n")
            answer = client.recv(100)
        process.kill()
    assert answer == b'{"success":true}\r\n'


@pytest.mark.slow
def test_as_a_program_with_uvloop_if_it_is_there_it_passes_the_shared_tests() -> None:
    with started("stages.beyond.fast", "0", "--quiet", "--cache-length", "100") as (_, port):
        verdict = judged(f"localhost:{port}", "fast")
    assert verdict.returncode == 0, verdict.stdout
