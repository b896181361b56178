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
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError

from stages.beyond.log.jetstream import OLDEST
from stages.lab.workbench.processes import Foreign
from stages.patience import patient

HOW_TO_GET_IT = (
    "`pip install -e '.[engine]'` to try it, or `apt install nats-server` (Debian 13), "
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

DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Whatever proxy the environment names is for other addresses."""

PORTS = range(10_000, 32_000)
"""Below those that systems give to connections."""

ATTEMPTS, PATIENCE = 3, patient(15)
"""How often we start three nodes, and for how many seconds we wait for them to find each other: it
happens that two do, and never ask the third."""


def program() -> str | None:
    """The engine's program, if it is here, and new enough."""
    return next((path for path in programs() if version_of(path) >= OLDEST), None)


def why_none() -> str:
    """Why there is no program that could be used, and how to get one."""
    oldest = ".".join(map(str, OLDEST))
    old = [f"{path} has version {'.'.join(map(str, version_of(path)))}" for path in programs()]
    found = " and ".join(old) + ", which is too old" if old else "no nats-server here"
    return f"{found}: expected {oldest} or newer, by {HOW_TO_GET_IT}"


def programs() -> list[str]:
    """Those on the path, beside Python, and where Debian puts it."""
    beside = os.path.dirname(sys.executable)
    places = [os.environ.get("PATH", ""), beside, "/usr/sbin"]
    found = (shutil.which("nats-server", path=place) for place in places)
    return list(dict.fromkeys(path for path in found if path))


@cache
def version_of(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:3]))


class Node(Foreign):
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
                folder=json.dumps(str(folder / name), ensure_ascii=False),
            ),
            encoding="utf-8",
        )
        super().__init__([path, "--config", str(configuration)])
        self.said = folder / f"{name}.log"
        self.start()

    def start(self, **streams: Any) -> None:
        with self.said.open("w") as said:
            super().start(stderr=said, **streams)

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def last_words(self) -> str:
        said = self.said.read_text(encoding="utf-8", errors="replace").strip()
        return said.rpartition("\n")[2] or "nothing"

    def is_ready(self, size: int) -> bool:
        """Whether it is healthy, and in a group of so many that has a leader."""
        group = self.ask("jsz").get("meta_cluster", {})
        healthy = self.ask("healthz").get("status") == "ok"
        return healthy and "leader" in group and group.get("cluster_size") == size

    def ask(self, what: str) -> dict[str, Any]:
        try:
            with DIRECTLY.open(f"http://127.0.0.1:{self.monitor}/{what}", timeout=1) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except HTTPError as refusal:  # it is not ready yet
            refusal.close()
        except (OSError, ValueError):
            pass
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
        raise OSError(why_none())
    problem = ""
    for _ in range(ATTEMPTS):
        with started(path, size) as nodes:
            problem = trouble(nodes)
            if not problem:
                yield nodes
                return
    raise OSError(problem)


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


def trouble(nodes: Sequence[Node]) -> str:
    """Wait until all nodes are ready. Returns what is wrong, if they will never be."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for node in nodes:
            if node.has_ended():
                return f"{node.name} of the engine has ended, and said: {node.last_words()}"
        if all(node.is_ready(len(nodes)) for node in nodes):
            return ""
        time.sleep(0.05)
    return (
        f"the {len(nodes)} nodes of the engine don't find each other: expected it in {PATIENCE:g} s"
    )
