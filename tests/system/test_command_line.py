"""Every stage as a program: `python -m stages.NAME PORT`."""

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from programs import NO_PACKAGES, PYTHON, ROOT, killed_at_the_end, python, run, started, talk

from stages import STAGES
from stages.patience import patient

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", STAGES)
def test_it_serves_and_prints_a_line_for_everything_that_happens(name: str, tmp_path: Path) -> None:
    command = '{"command": "subscribe", "topic": "foo"}'
    kept = {
        "beyond.durable": ["--data", str(tmp_path / "messages.db")],
        "beyond.cluster": ["--engine", "memory"],
        "beyond.secure": ["--users", ""],
    }.get(name, [])
    with started(f"stages.{name}", "0", *kept) as (process, port):
        assert talk(port, f"{command}\nhello \x1b[31m\nquit\n").count("\n") == (
            2 if "beyond" in name else 1
        )
        assert process.stdout
        printed = list(iter(process.stdout.readline, "Client disconnected...\n"))
    (rejected,) = (each for each in printed if each.startswith("Rejected: "))
    assert rejected.startswith(("Rejected: not a Python literal", "Rejected: Could not parse json"))
    bad = "Received: hello \\x1b[31m\n"
    said = ["New client connected...\n", f"Received: {command}\n", bad, "Received: quit\n"]
    if name == "beyond.secure":  # what is not a command gets no further than the door
        said.remove(bad)
    assert [each for each in printed if each != rejected] == said


def test_a_stage_beyond_without_its_package_is_one_clear_line() -> None:
    command = [*PYTHON, NO_PACKAGES, "-m", "stages.beyond.durable", "0"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=patient(60))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "need msgspec: install it with pip install" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_low_limit_of_open_files_is_raised_or_told() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = f"ulimit -Sn 100 && exec {' '.join(python('stages.beyond.replies', '0', '--quiet'))}"
    with killed_at_the_end(["sh", "-c", limits]) as process, ExitStack() as clients:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2])
        for _ in range(150 if hard == resource.RLIM_INFINITY or hard > 300 else 50):
            client = clients.enter_context(
                socket.create_connection(("localhost", port), timeout=patient(30))
            )
            client.sendall(b"hello\n")
            assert b"Could not parse json" in client.recv(1000)
    with killed_at_the_end(["sh", "-c", limits.replace("-Sn 100", "-n 100")]) as process:
        assert process.stderr
        assert process.stderr.readline().startswith(
            "this system allows 100 open files: expected 10500 for 10000"
        )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_with_one_line_and_closes_its_clients(number: signal.Signals) -> None:
    with started("stages.disconnects", "0", "--quiet") as (process, port):
        with socket.create_connection(("localhost", port), timeout=patient(30)) as client:
            client.sendall(b"hello\n")
            client.recv(1000)  # it is being served
            process.send_signal(number)
            assert client.recv(1000) == b""
        out, err = process.communicate(timeout=patient(60))
    assert (process.returncode, out, err) == (0, "stages.disconnects stopped\n", "")


def test_it_runs_on_without_its_output() -> None:
    with started("stages.basic", "0") as (process, port):
        assert process.stdout
        process.stdout.close()
        for _ in range(3):
            assert "error" in talk(port, "hello\n")
        process.terminate()
        assert process.stderr
        assert process.stderr.read() == ""
        if sys.platform != "win32":
            assert process.wait(patient(60)) == 0


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("stages.basic", str(port), "--host", "127.0.0.1")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"stages.basic: cannot serve on 127.0.0.1:{port}: ")
    assert result.stderr.count("\n") == 1


BAD = {
    (): "required: port",
    ("seven",): "invalid int value: 'seven'",
    ("77777",): "port must be 0 to 65535: got 77777",
    ("0", "--cache-length", "-1"): "cache_length must be at least 0: got -1",
    ("0", "--seed", "x"): "argument --seed: invalid int value: 'x'",
    ("0", "--nonsense"): "unrecognized arguments: --nonsense",
    ("0", "--host", "no such host"): "cannot serve on no such host:0: ",
}


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_a_bad_argument_is_one_clear_line(arguments: tuple[str, ...]) -> None:
    result = run("stages.caching", *arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("stages.caching: ")
    assert BAD[arguments] in result.stderr


def test_a_setting_of_the_stage_is_a_flag() -> None:
    send = "".join(f"{{'command': 'send', 'topic': 'foo', 'msg': {n}}}\n" for n in range(5))
    with started("stages.last_seen", "0", "--quiet", "--cache-length", "2") as (_, port):
        replay = talk(port, send + "{'command': 'subscribe', 'topic': 'foo'}\n")
    assert [line.partition("'msg': ")[2] for line in replay.splitlines()] == [
        "3, 'index': 3}",
        "4, 'index': 4}",
    ]


def test_the_table_of_contents_names_every_stage_with_its_command() -> None:
    lines = run("stages").stdout.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["python", "-m", f"stages.{name}", "7777"] for name in STAGES
    ]
    assert [
        line.endswith(promise) for line, promise in zip(lines, STAGES.values(), strict=True)
    ] == [True] * len(STAGES)
