"""`python -m stages.client`: the client for the terminal, on a real server."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import ROOT, python, run, started

from stages.patience import patient

pytestmark = pytest.mark.slow

CLIENT = python("stages.client")


@pytest.fixture
def port() -> Iterator[str]:
    with started("stages.disconnects", "0", "--quiet") as (_, port):
        yield str(port)


def client(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLIENT, *arguments],
        cwd=ROOT,
        input=typed,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=patient(60),
    )


def subscriber(port: str, *arguments: str) -> subprocess.Popen[str]:
    command = [*CLIENT, port, "subscribe", "foo", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def message(text: str, index: int, delivery: str = "all") -> str:
    command = {"command": "send", "topic": "foo", "msg": text, "delivery": delivery, "index": index}
    return f"{command}\n"


def test_what_is_sent_is_printed_to_who_subscribes(port: str) -> None:
    assert client(port, "send", "foo", "it's me").returncode == 0
    assert client(port, "send", "foo", typed="one\ntwo\n").returncode == 0
    assert client(port, "send", "foo", "for one", "--delivery", "one").returncode == 0
    with subscriber(port, "--last-seen", "0") as process:
        assert process.stdout
        printed = [process.stdout.readline() for _ in range(3)]
        process.kill()
    assert printed == [message("one", 1), message("two", 2), message("for one", 3, "one")]


def test_a_subscriber_survives_a_restart_of_the_server() -> None:
    with started("stages.disconnects", "0", "--quiet") as (_, port):
        client(str(port), "send", "foo", "before")
        process = subscriber(str(port))
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == message("before", 0)
    with process, started("stages.disconnects", str(port), "--quiet"):
        client(str(port), "send", "foo", "after")
        assert process.stdout.readline() == message("after", 0)
        process.kill()
        told = process.stderr.read().splitlines()
    assert told[0].startswith(f"no connection to localhost:{port}, trying again in ")
    assert told[-1] == "the server has started over: foo is at index 0 again"


def test_the_prompt_takes_commands_and_short_forms(port: str) -> None:
    typed = "subscribe foo\nsend foo hello world\none foo 'job'\n{'command': 'send', 'topic': 'foo', 'msg': 1}\nwhat?\n"
    printed = client(port, typed=typed).stdout.splitlines(keepends=True)
    assert printed[:2] == [message("hello world", 0), message("'job'", 1, "one")]
    assert printed[2] == "{'command': 'send', 'topic': 'foo', 'msg': 1, 'index': 2}\n"
    assert printed[3].startswith("{'error': ")
    assert len(printed) == 4


def test_the_prompt_explains_its_short_forms(port: str) -> None:
    assert client(port, typed="help\nsend foo\n").stdout.count("subscribe TOPIC [LAST_SEEN]") == 2


def test_the_prompt_tells_when_the_server_has_closed_the_connection() -> None:
    with started("stages.basic", "0", "--quiet") as (server, port):
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [*CLIENT, str(port)], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            process.stdin.write("hello\n")
            process.stdin.flush()
            process.stdout.readline()
            server.kill()
            problem = process.stderr.readline()
            process.stdin.close()
    assert problem.startswith(f"stages.client: cannot reach localhost:{port}: ")


def test_input_that_is_not_utf_8_is_one_clear_line(port: str) -> None:
    command = [*CLIENT, port, "send", "foo"]
    result = subprocess.run(
        command, cwd=ROOT, input=b"a\xff\n", capture_output=True, timeout=patient(60)
    )
    assert (result.returncode, result.stderr.decode()) == (
        2,
        "stages.client: standard input is not UTF-8\n",
    )


def test_an_error_of_the_server_is_told() -> None:
    with started("stages.basic", "0", "--quiet") as (_, port):
        result = client(str(port), "send", "foo", typed="x" * 70_000)
    assert result.returncode == 1
    assert (
        result.stderr
        == "stages.client: the server says: line too long: expected at most 65536 bytes\n"
    )


def test_a_server_that_is_not_there_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    result = client(port, "send", "foo", "hello")
    assert result.returncode == 2
    assert result.stderr.startswith(f"stages.client: cannot reach localhost:{port}: ")
    assert result.stderr.count("\n") == 1


def test_a_bad_argument_is_one_clear_line() -> None:
    for arguments, problem in {
        ("7777", "send", "foo", "--delivery", "some"): "invalid choice: 'some'",
        ("7777", "--token", "secret", "send", "foo", "x"): "a token is no argument",
        ("77777",): "no address of a server: '77777' (expected a port from 1 to",
    }.items():
        result = run("stages.client", *arguments)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert result.stderr.startswith("stages.client")
        assert problem in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_is_silent_while_it_waits_for_input(port: str) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*CLIENT, port], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("hello\n")
        process.stdin.flush()
        process.stdout.readline()  # it is running
        process.send_signal(signal.SIGINT)
        assert process.wait(patient(60)) == 130
        assert process.communicate() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_is_silent(port: str) -> None:
    client(port, "send", "foo", "hello")
    with subscriber(port) as process:
        assert process.stdout
        process.stdout.readline()  # it is running
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=patient(60)) == ("", "")


def test_a_pipe_that_closes_ends_it_silently(port: str) -> None:
    client(port, "send", "foo", typed="1\n2\n")
    with subscriber(port) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        client(port, "send", "foo", "one more, into the closed pipe")
        assert process.stderr.read() == ""
        assert process.wait(patient(60)) == 0


@pytest.fixture
def durable_port(tmp_path: Path) -> Iterator[str]:
    with started(
        "stages.beyond.durable", "0", "--quiet", "--data", str(tmp_path / "messages.db")
    ) as (_, port):
        yield str(port)


def test_it_speaks_json_where_the_server_does(durable_port: str) -> None:
    assert client(durable_port, "send", "foo", typed="one\ntwo\n").returncode == 0
    with subscriber(durable_port, "--last-seen", "0") as process:
        assert process.stdout
        assert process.stdout.readline() == message("two", 1)
        process.kill()
    typed = ["work foo 1", "one foo job", "ack foo 2", "unsubscribe foo", "ack foo 2", "{}"]
    working, sent, acked, left = [
        json.dumps({"success": True, "id": line}, separators=(",", ":")) for line in typed[:4]
    ]
    one, two, job = [
        json.dumps(
            {"command": "send", "topic": "foo", "msg": msg, "delivery": delivery, "index": index},
            separators=(",", ":"),
        )
        for msg, delivery, index in (("one", "all", 0), ("two", "all", 1), ("job", "one", 2))
    ]
    printed = client(durable_port, typed="\n".join(typed)).stdout.splitlines()
    assert printed[:-2] == [working, one, two, job, sent, acked, left]
    assert "message 2 of this topic is not with you" in printed[-2]
    assert printed[-1] == '{"success":false,"reason":"Malformed json message"}'


HELLO = b'{"success": false, "reason": "Malformed json message"}\r\n'
NOT_STORED = b'{"success": false, "reason": "Could not store"}\r\n'


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([HELLO], "the server has closed the connection"),
        ([HELLO, NOT_STORED], "the server says: Could not store"),
        ([NOT_STORED], "the server says: Could not store"),
    ],
)
def test_what_was_not_answered_with_success_was_not_sent(
    answers: list[bytes], problem: str
) -> None:
    def serve() -> None:
        connection = listener.accept()[0]
        with connection, connection.makefile("rb") as lines:
            for answer in answers:
                lines.readline()
                connection.sendall(answer)
            lines.readline()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(patient(60))  # the client may fail before it connects
        thread = threading.Thread(target=serve)
        thread.start()
        result = client(
            str(listener.getsockname()[1]), "--host", "127.0.0.1", "send", "foo", "hello"
        )
        thread.join()
    assert result.returncode == 2
    assert result.stderr.endswith(f": {problem}\n")
