"""`--target`: somebody else's server, judged by the shared tests."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from judged import judged

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_a_failure_is_told_to_the_author_of_the_server() -> None:
    result = judged(
        "tests/claims/broken/basic.py:DeliversTwice", "basic", "-k", "reaches_every_subscriber"
    )
    assert result.returncode == 1
    story = result.stdout.partition("claim     a message reaches every subscriber of its topic\n")[
        2
    ]
    assert story.splitlines()[3:11] == [
        story.splitlines()[3],
        story.splitlines()[4],
        story.splitlines()[5],
        "the wire  server   --> client 1  #0 hello",
        "the wire  server   --> client 1  #0 hello",
        "expected  ['hello']",
        "received  ['hello', 'hello']",
        "hint      Write each message to every client that has subscribed to exactly this topic.",
    ]
    assert "assert" not in story.partition("hint")[0]


def test_a_class_in_a_module_can_be_the_target() -> None:
    result = judged("stages.basic:Server", "basic")
    assert result.returncode == 0, result.stdout
    assert "18 passed" in result.stdout


@contextmanager
def node_server() -> Iterator[str]:
    """README's example in another language, running."""
    command = ["node", "tests/lab/basic_server.mjs", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().rpartition(" ")[2].strip()
        process.kill()


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_a_server_in_another_language_can_pass() -> None:
    with node_server() as address:
        result = judged(address, "basic")
    assert result.returncode == 0, result.stdout
    assert "19 passed" in result.stdout  # one that is asked by address alone


def test_a_server_that_hangs_is_asked_no_further() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = judged(f"127.0.0.1:{silent.getsockname()[1]}", "basic")
    assert "received  nothing came for 3 seconds" in result.stdout
    assert "the server does not answer: it is not asked any further" in result.stdout
    assert "1 failed" in result.stdout


SPINS = """
from stages import basic
from stages.patience import patient

class Server(basic.Server):
    def handle(self, line, client):
        while True:
            pass
"""


def test_a_class_that_hangs_is_given_up_soon(tmp_path: Path) -> None:
    (tmp_path / "spins.py").write_text(SPINS)
    result = judged(str(tmp_path / "spins.py"), "basic")
    assert "the server does not answer: it is not asked any further" in result.stdout
    assert "1 failed" in result.stdout  # nothing of it has ever worked


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n"])
def test_a_server_that_closes_or_answers_garbage_gets_a_clear_message(answer: bytes) -> None:
    def serve() -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            with client, suppress(OSError):
                client.recv(65536)
                client.sendall(answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        result = judged(f"127.0.0.1:{listener.getsockname()[1]}", "basic")
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert "19 failed" in result.stdout
    assert (
        "received  the line b'HTTP" if answer else "received  the server closed the connection"
    ) in result.stdout


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("nosuch.py", "cannot load nosuch.py: "),
        ("stages.basic:Nobody", "cannot load stages.basic:Nobody: "),
        ("localhost:1", "nothing answers at localhost:1: "),
    ],
)
def test_a_target_that_is_none_is_one_clear_line(target: str, problem: str) -> None:
    result = judged(target, "basic")
    assert result.returncode == 4
    assert result.stderr.startswith(f"ERROR: --target: {problem}")
    assert len(result.stderr.strip().splitlines()) == 1
