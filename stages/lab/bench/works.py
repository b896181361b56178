"""What is measured: works, each of which takes a server and says how it did."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.lab.bench import wires
from stages.lab.bench.servers import SERVERS, running
from stages.lab.bench.wires import Wire

if TYPE_CHECKING:
    import psutil

Values = list[float]
"""What a round measured: a rate, or many latencies."""


@dataclass(frozen=True)
class Work:
    """Something to measure. `measure` takes a server's name and how many messages; returns the
    messages a second, or what else its unit says."""

    title: str
    purpose: str
    """The wire it needs: `publish`, `answered`, `jobs` or `stored`."""
    measure: Callable[[str, Wire, int], Values]
    unit: str = "messages/s"
    number: int | None = None
    """How many messages; None: as many as take a second."""


class Client:
    """A client in a process of its own, ready to begin."""

    def __init__(self, role: str, wire: Wire, port: int, number: int, size: int) -> None:
        name = next(name for name, each in vars(wires).items() if each is wire)
        arguments = json.dumps([role, name, port, number, size])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stages.lab.bench.client", arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.result()

    def begin(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a client of the benchmark has ended too early")
        return json.loads(line)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def crew(server: str, *roles: tuple[str, Wire, int, int]) -> Iterator[tuple[list[Client], Any]]:
    """A fresh server and clients that are ready, the first role first; and the server's process."""
    with ExitStack() as stack:
        port, process = stack.enter_context(running(server))
        clients = []
        for role, wire, number, size in roles:
            clients.append(Client(role, wire, port, number, size))
            stack.callback(clients[-1].end)
        yield clients, process


def deliver(subscribers: int) -> Callable[[str, Wire, int], Values]:
    """From one publisher to so many subscribers; until the last of them has the last message, and
    the publisher its answer."""

    def measure(server: str, wire: Wire, number: int) -> Values:
        roles = ("subscribe", wire, number, subscribers), ("publish", wire, number, 1)
        with crew(server, *roles) as ((subscriber, publisher), _):
            subscriber.begin()
            publisher.begin()
            begin, answered = publisher.result()
            return [number / (max(subscriber.result(), answered) - begin)]

    return measure


def answer(topics: int) -> Callable[[str, Wire, int], Values]:
    """From one publisher, to so many topics in turn; until the last answer has come."""

    def measure(server: str, wire: Wire, number: int) -> Values:
        with crew(server, ("publish", wire, number, topics)) as ((publisher,), _):
            publisher.begin()
            begin, end = publisher.result()
            return [number / (end - begin)]

    return measure


def jobs(server: str, wire: Wire, number: int) -> Values:
    """From one publisher to one of four workers; until the last job is acknowledged."""
    with crew(server, ("work", wire, number, 0), ("publish", wire, number, 1)) as (
        (worker, publisher),
        _,
    ):
        worker.begin()
        publisher.begin()
        begin, _ = publisher.result()
        return [number / (worker.result() - begin)]


def round_trip(server: str, wire: Wire, number: int) -> Values:
    with crew(server, ("ping", wire, number, 0)) as ((client,), _):
        client.begin()
        return [seconds * 1e6 for seconds in client.result()]


def idle(server: str, wire: Wire, number: int) -> Values:
    with crew(server, ("idle", wire, number, 0)) as ((client,), process):
        before = process.memory_info().rss
        client.begin()
        client.result()
        settled(process)
        return [(process.memory_info().rss - before) / number / 1000]


def settled(process: "psutil.Process") -> None:
    """Wait until a server has nothing more to do."""
    while process.cpu_percent(0.2) > 10:
        pass


WORKS = {
    "1": Work("1 → 1", "publish", deliver(1)),
    "10": Work("1 → 10", "publish", deliver(10)),
    "100": Work("1 → 100", "publish", deliver(100)),
    "jobs": Work("jobs, 4 workers", "jobs", jobs),
    "stored": Work("stored on disk", "stored", answer(1)),
    "topic": Work("answered, 1 topic", "answered", answer(1)),
    "topics": Work("answered, 1,000 topics", "answered", answer(1000)),
    "many topics": Work("answered, 100,000 topics", "answered", answer(100_000)),
    "trip": Work("round trip", "publish", round_trip, "µs", number=3000),
    "idle": Work("idle connection", "publish", idle, "kB", number=10_000),
}


def wire_for(server: str, work: str) -> Wire | None:
    """The wire that a server speaks for a work; None if it cannot do it."""
    wire: Wire | None = getattr(SERVERS[server], WORKS[work].purpose)
    return wire
