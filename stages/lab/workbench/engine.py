"""An engine on this machine, for trying: three nodes of NATS JetStream, with their data in a folder
that is gone at the end.

    with launch_cluster() as nodes:
        server = cluster.Server(engine=addresses(nodes))
        nodes[0].kill()
        nodes[0].start()
"""

import json
import os
import random
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stages.beyond.jetstream import OLDEST

HOW_TO_GET_IT = (
    "no nats-server of version {} or newer here: `apt install nats-server` (Debian 13), "
    "`brew install nats-server`, `scoop install nats-server`, or nats.io/download"
)

CONFIGURATION = """
server_name: {name}
listen: 127.0.0.1:{port}
http: 127.0.0.1:{monitor}
max_payload: 8MB
jetstream {{ store_dir: {folder} }}
cluster {{ name: stages, listen: 127.0.0.1:{route}, routes: [{routes}] }}
"""

PORTS = range(10_000, 32_000)
"""Below those that systems give to connections."""

ATTEMPTS, PATIENCE = 3, 15
"""How often we start three nodes, and for how many seconds we wait for them to find each other: it
happens that two do, and never ask the third."""


def program() -> str | None:
    """The engine's program, if it is here, and new enough."""
    places = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
    path = shutil.which("nats-server", path=places)
    if path:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        version = said.stdout.strip().rpartition("v")[2].split(".")
        if tuple(int(part) for part in version if part.isdigit()) >= OLDEST:
            return path
    return None


class Program:
    """A process that can be killed, and started again by the same command."""

    command: list[str]

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Node(Program):
    """A process of the engine, with its data."""

    def __init__(self, path: str, folder: Path, name: str, ports: Sequence[int], routes: str):
        port, self.monitor, route = ports
        self.name = name
        self.address = f"nats://127.0.0.1:{port}"
        configuration = folder / f"{name}.conf"
        configuration.write_text(
            CONFIGURATION.format(
                name=name,
                port=port,
                monitor=self.monitor,
                route=route,
                routes=routes,
                folder=json.dumps(str(folder / name)),
            )
        )
        self.command = [path, "--config", str(configuration)]
        self.start()

    def is_ready(self, size: int) -> bool:
        """Whether it is healthy, and in a group of so many that has a leader."""
        group = self.ask("jsz").get("meta_cluster", {})
        healthy = self.ask("healthz").get("status") == "ok"
        return healthy and "leader" in group and group.get("cluster_size") == size

    def ask(self, what: str) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            url = f"http://127.0.0.1:{self.monitor}/{what}"
            with urllib.request.urlopen(url, timeout=1) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        return {}


def addresses(nodes: Sequence[Node]) -> str:
    """What `--engine` takes."""
    return ",".join(node.address for node in nodes)


@contextmanager
def launch_cluster(size: int = 3) -> Iterator[list[Node]]:
    """Start an engine of so many nodes; yields them once all have found each other. Raises OSError,
    in one line, if the program is not here, or if they don't."""
    path = program()
    if not path:
        raise OSError(HOW_TO_GET_IT.format(".".join(map(str, OLDEST))))
    for _ in range(ATTEMPTS):
        with started(path, size) as nodes:
            if wait_until_ready(nodes):
                yield nodes
                return
    raise OSError(
        f"the {size} nodes of the engine don't find each other: expected it in {PATIENCE} s"
    )


@contextmanager
def started(path: str, size: int) -> Iterator[list[Node]]:
    with TemporaryDirectory(prefix="stages-", ignore_cleanup_errors=True) as folder:
        ports = free_ports(3 * size)
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[2::3])
        with ExitStack() as stack:
            nodes = []
            for number in range(size):
                own = ports[3 * number : 3 * number + 3]
                nodes.append(Node(path, Path(folder), f"node-{number + 1}", own, routes))
                stack.callback(nodes[-1].kill)
            yield nodes


def free_ports(count: int) -> list[int]:
    """Ports that are free now, and that no outgoing connection takes while a node is dead."""
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = random.choice(PORTS)
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found


def wait_until_ready(nodes: Sequence[Node]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if all(node.is_ready(len(nodes)) for node in nodes):
            return True
        time.sleep(0.05)
    return False
