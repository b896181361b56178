"""The servers that can be measured: our stages, and the peers that are installed here."""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from stages import STAGES
from stages.lab.bench import wires
from stages.lab.bench.wires import Wire
from stages.lab.workbench import engine
from stages.lab.workbench.processes import Foreign

if TYPE_CHECKING:
    import psutil

Command = Callable[[int, str], list[str]]
"""From a port and a folder to the command that starts the server."""


@dataclass(frozen=True)
class Kind:
    """A server that can be started: how, and which wire it speaks for which purpose."""

    command: Command
    publish: Wire | None = None
    jobs: Wire | None = None
    stored: Wire | None = None
    version: list[str] = field(default_factory=list)
    on_engine: bool = False  # whether it needs three nodes of one

    @property
    def answered(self) -> Wire | None:
        """The wire to publish on, if it answers."""
        return self.publish if self.publish and self.publish.answered else None

    def why_not(self) -> str:
        """Why it cannot be measured here, if so."""
        if self.on_engine and not engine.program():
            return engine.why_none()
        return "" if shutil.which(self.command(0, "")[0]) else "not installed"


WITHOUT_UVLOOP = """
import runpy, sys
sys.modules["uvloop"] = None
runpy.run_module("{}", run_name="__main__", alter_sys=True)
"""


def stage(
    name: str,
    *,
    jobs: bool = False,
    file: bool = False,
    uvloop: bool = True,
    on_engine: bool = False,
) -> Kind:
    beyond = name in {path.partition(".")[2] for path in STAGES if "." in path}

    def command(port: int, folder: str) -> list[str]:
        module = f"stages.{'beyond.' * beyond}{name}"
        kept = ["--data", f"{folder}/messages.db"] if file else []
        start = ["-m", module] if uvloop else ["-c", WITHOUT_UVLOOP.format(module)]
        return [sys.executable, *start, str(port), "--host", "127.0.0.1", "--quiet", *kept]

    wire = wires.JSON if beyond else wires.LITERAL
    return Kind(
        command,
        publish=wire,
        jobs=wires.JSON_JOBS if jobs else None,
        stored=wires.JSON if file or on_engine else None,
        on_engine=on_engine,
    )


def redis(*settings: str) -> Command:
    return lambda port, folder: [
        *("redis-server", "--port", str(port), "--bind", "127.0.0.1"),
        *("--save", "", "--dir", folder, *settings),
    ]


def nats(port: int, folder: str) -> list[str]:
    return ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]


SERVERS = {
    "last_seen": stage("last_seen"),
    "disconnects": stage("disconnects"),
    "replies": stage("replies"),
    "slow_consumers": stage("slow_consumers"),
    "acks": stage("acks", jobs=True),
    "durable": stage("durable", jobs=True, file=True),
    "fast": stage("fast", jobs=True),
    "fast on asyncio's loop": stage("fast", jobs=True, uvloop=False),
    "fast with a file": stage("fast", jobs=True, file=True),
    "cluster": stage("cluster", jobs=True, on_engine=True),
    "Redis": Kind(
        redis("--appendonly", "no"),
        publish=wires.REDIS,
        jobs=wires.REDIS_STREAM,
        version=["redis-server", "--version"],
    ),
    "Redis, fsync always": Kind(
        redis("--appendonly", "yes", "--appendfsync", "always"), stored=wires.REDIS_STREAM
    ),
    "NATS": Kind(nats, publish=wires.NATS, version=["nats-server", "--version"]),
    "NATS JetStream": Kind(nats, stored=wires.JETSTREAM),
}


def version_of(kind: Kind) -> str | None:
    """What a peer says of its version, as far as it is one."""
    if not kind.version:
        return None
    said = subprocess.run(kind.version, capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else None


class NotStarted(Exception):
    """A server does not start; the text says which, and what it printed."""


@contextmanager
def running(name: str) -> Iterator[tuple[int, "psutil.Process"]]:
    """A fresh server on a free port, with a folder of its own; its port and process. Raises
    `NotStarted`."""
    import psutil  # a browser has none, and shows what was recorded

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kind = SERVERS[name]
    none = contextlib.nullcontext(list[engine.Node]())
    beside: AbstractContextManager[list[engine.Node]] = none
    if kind.on_engine:
        beside = engine.launch_cluster()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, beside as nodes:
        command = kind.command(port, folder)
        command += ["--engine", engine.addresses(nodes)] if nodes else []
        server = Foreign(command)
        server.start(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            wait_until_listening(name, port, server.process)
            yield port, psutil.Process(server.process.pid)
        finally:
            server.kill()


def wait_until_listening(name: str, port: int, process: "subprocess.Popen[str]") -> None:
    while process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
            return
    assert process.stdout
    raise NotStarted(f"{name} does not start: {process.stdout.read()[-300:]}")
