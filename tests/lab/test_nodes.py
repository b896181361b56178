"""The program of the engine, found or not, and what its nodes say; without an engine."""

import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages.lab.bench.servers import SERVERS
from stages.lab.workbench import engine
from stages.lab.workbench.engine import Node, free_ports, launch_cluster

pytestmark = pytest.mark.slow

MakeProgram = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeProgram:
    """Makes a nats-server, the only one here, of a few lines of Python."""
    if os.name == "nt":
        pytest.skip("Windows starts no scripts like this")
    monkeypatch.setenv("PATH", str(tmp_path))
    real = shutil.which

    def which(name: str, path: str) -> str | None:
        return real(name, path=path) if path == str(tmp_path) else None

    monkeypatch.setattr(shutil, "which", which)
    engine.version_of.cache_clear()

    def make(source: str) -> Path:
        program = tmp_path / "nats-server"
        program.write_text(f"#!{sys.executable}\nimport sys\n{source}")
        program.chmod(0o755)
        return program

    return make


def says(version: str, more: str = "") -> str:
    return f'if "--version" in sys.argv: print("nats-server: v{version}")\n{more}'


def test_where_there_is_no_program_it_is_told_how_to_get_one(make: MakeProgram) -> None:
    assert engine.program() is None
    with (
        pytest.raises(OSError, match=r"^no nats-server here: expected 2\.10\.23 or newer, by `pip"),
        launch_cluster(),
    ):
        pass


@pytest.mark.parametrize("version", ["2.9.10", "2.10.22"])
def test_a_program_that_is_too_old_is_said_to_be_too_old(version: str, make: MakeProgram) -> None:
    path = make(says(version))
    assert engine.program() is None
    told = f"{path} has version {version}, which is too old: expected 2.10.23 or newer, by "
    assert engine.why_none().startswith(told)
    assert SERVERS["cluster"].why_not().startswith(told)


@pytest.mark.parametrize("version", ["2.10.23", "2.11.0", "2.15.1", "10.0.0-beta.1"])
def test_a_program_that_is_new_enough_is_taken(version: str, make: MakeProgram) -> None:
    path = make(says(version))
    assert engine.program() == str(path)


def test_a_new_one_beside_python_is_taken_where_that_on_the_path_is_too_old(
    make: MakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make(says("2.9.10"))
    beside = tmp_path / "bin"
    beside.mkdir()
    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    new = beside / "nats-server"
    new.write_bytes(old.read_bytes().replace(b"2.9.10", b"2.15.1"))
    new.chmod(0o755)
    found = {str(old.parent): str(old), str(beside): str(new)}
    monkeypatch.setattr(shutil, "which", lambda name, path: found.get(path))
    assert engine.program() == str(new)


def test_a_node_that_has_ended_is_told_at_once_with_what_it_said(
    make: MakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 10**9)
    make(says("2.15.1", 'if "--config" in sys.argv: sys.exit("starting\\nno space left")'))
    with (
        pytest.raises(OSError, match=r"^node-\d of the engine has ended, and said: no space left$"),
        launch_cluster(),
    ):
        pass


@contextmanager
def answering(status: int) -> Iterator[Node]:
    """A node of which there is just the port that tells how it is."""

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"status": "ok"}')

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        node = Node.__new__(Node)
        node.monitor = server.server_address[1]
        yield node
        server.shutdown()


def test_nodes_are_asked_directly_whatever_proxy_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    with answering(200) as node:
        assert node.ask("healthz") == {"status": "ok"}


def test_a_node_that_is_not_ready_leaves_nothing_open() -> None:
    with answering(503) as node:  # warnings are errors: one that is not closed is found
        assert node.ask("healthz") == {}


@pytest.mark.skipif(not engine.program(), reason=engine.why_none())
def test_a_node_understands_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Node, "start", lambda node: None)
    home = tmp_path / 'Jürgens "neue" Dateien'
    home.mkdir()
    path = engine.program()
    assert path
    node = Node(path, home, "node-1", free_ports(3), "nats://127.0.0.1:1")
    checked = subprocess.run([*node.command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
