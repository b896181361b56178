"""The benchmark measures what it says, and leaves out what is not there. How fast anything is, no
test asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.beyond.broker import Batch, commands
from stages.lab.bench import servers, wires
from stages.lab.bench.client import acks_of_json, acks_of_redis
from stages.lab.bench.results import RECORDED, Run, drawn, from_rounds
from stages.lab.bench.works import WORKS, wire_for
from stages.lab.lessons.fast import steps
from stages.patience import patient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.lab.bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | environment,
        timeout=patient(120),
    )


@pytest.mark.parametrize(
    ("server", "work"),
    [
        *(("last_seen", work) for work in ("1", "trip")),
        *(("fast with a file", work) for work in WORKS),
    ],
    ids=lambda name: f"'{name}'",
)
def test_each_work_is_measured(server: str, work: str) -> None:
    wire = wire_for(server, work)
    assert wire
    values = WORKS[work].measure(server, wire, 50)
    assert len(values) == (45 if work == "trip" else 1)
    assert all(value > 0 for value in values) or work == "idle"


def test_a_server_is_measured_only_in_what_it_can_do() -> None:
    assert wire_for("last_seen", "topic") is None  # nothing is answered there
    assert wire_for("replies", "jobs") is None
    assert wire_for("fast", "stored") is None
    assert wire_for("fast with a file", "stored") is wires.JSON


def test_what_is_not_installed_is_named_and_left_out(tmp_path: Path) -> None:
    kept, picture = tmp_path / "run.json", tmp_path / "run.png"
    made = bench(
        *("fast", "Redis", "--rounds", "1", "--works", "trip", "--base", "fast"),
        *("--save", str(kept), "--picture", str(picture)),
        PATH="",
    )
    assert made.returncode == 0, made.stderr
    assert "left out: Redis: not installed\n" in made.stderr
    assert "round trip, µs\n  fast                      1.00 ×" in made.stdout
    assert list(Run.load(kept).figures["trip"]) == ["fast"]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["slow"], "expected one of last_seen, "),
        (["fast", "--works", "2"], "expected one of 1, 10, "),
        (["fast", "--save", "no/such/file"], "there is no folder "),
        (["fast", "--rounds", "0"], "rounds must be at least 1: got 0"),
        (["last_seen", "--works", "jobs"], "none of these servers can do any of these works"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(arguments: list[str], problem: str) -> None:
    asked = bench(*arguments)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert asked.stderr.startswith(f"stages.lab.bench: {problem}")
    assert asked.stderr.count("\n") == 1


def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(port: int, folder: str) -> list[str]:
        return [sys.executable, "-m", "stages.fast", str(port)]

    monkeypatch.setitem(servers.SERVERS, "broken", servers.Kind(command))
    problem = pytest.raises(servers.NotStarted, match=r"broken does not start: .*No module named")
    with problem, servers.running("broken"):
        pass


def test_ratios_are_told_first() -> None:
    run = Run(
        3, {"Python": "3"}, "2026-01-01", "a machine", {"1": {"a": [2, 4, 3], "b": [6, 6, 6]}}
    )
    assert run.ratio("b", "a") == 2
    assert run.table("a").splitlines()[-2:] == [
        "  a                         1.00 ×           3  (2 to 4)",
        "  b                         2.00 ×           6  (6 to 6)",
    ]


def test_latencies_are_kept_as_percentiles_of_all_rounds() -> None:
    assert from_rounds([[1.23456], [2.0]]) == [1.235, 2.0]
    kept = from_rounds([[float(n) for n in range(500)], [float(n) for n in range(500, 1001)]])
    assert len(kept) == 100
    assert kept[49] == pytest.approx(500, abs=10)


def test_the_recorded_figures_are_of_works_and_servers_that_there_are() -> None:
    run = Run.load(RECORDED)
    assert set(run.figures) <= set(WORKS)
    assert {name for of in run.figures.values() for name in of} <= set(servers.SERVERS)
    assert set(steps.recorded().costs) == {*steps.STEPS, *steps.WRONG_TURNS, steps.NO_COLLECTOR}


def test_the_readers_own_run_is_drawn_beside_the_recorded_one() -> None:
    recorded = Run(1, {}, figures={"1": {"fast": [2.0], "Redis": [3.0]}})
    own = Run(1, {}, figures={"1": {"fast": [2.0]}})
    bars = [drawn(recorded, "1", beside).axes[0].patches for beside in (None, own)]
    assert [len(each) for each in bars] == [2, 3]


def test_a_file_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"figures": 7, "of": "something"}')
    with pytest.raises(ValueError, match="is no result of this benchmark"):
        Run.load(tmp_path / "other.json")


def test_workers_acknowledge_each_job_once() -> None:
    said = b'{"command":"send","msg":"x","delivery":"one","index":7}\r\n{"success":true}\r\n'
    assert acks_of_json(said) == (b'{"command":"ack","topic":"jobs","index":7}\n', 1)
    said = b"*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nd\r\n$2\r\n00\r\n"
    assert acks_of_redis(said) == (wires.resp("XACK", "jobs", "workers", "1-0"), 1)


@pytest.mark.parametrize("name", [*steps.STEPS, *steps.WRONG_TURNS])
def test_each_step_on_the_way_delivers_the_same(name: str) -> None:
    server = (steps.STEPS | steps.WRONG_TURNS)[name](seed=1)
    broker = server.broker
    outgoing = broker.carry_out(
        Batch(0, [(1, b'{"command":"subscribe","topic":"foo0"}'), (2, steps.said(2, 10)[:-1])])
    )
    sent = b"".join(
        commands.encode(each) for clients, what in outgoing[2] for each in what if 1 in clients
    )
    assert sent.count(b'"topic":"foo0"') == 5
    assert broker.topics["foo1"].next_index == 5
