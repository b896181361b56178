"""Lesson 11: kill an engine's leader and the servers in turn, under load, and count what is lost.

    $ python -m stages.lab.lessons.cluster.faults 50        # 50 kills of each kind
    $ python -m stages.lab.lessons.cluster.faults 3 --save  # and record it for the lesson

Source: Jepsen's way of testing: know what was promised, break things, and compare.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import TYPE_CHECKING, Any

from stages.client import Client
from stages.client.follow import follow
from stages.client.work import work
from stages.command_line import Parser
from stages.lab.pictures.plot import as_image, figure
from stages.lab.workbench.engine import Node, addresses, free_ports, launch_cluster
from stages.lab.workbench.processes import Stage
from stages.lab.workbench.progress import progress
from stages.patience import patient

if TYPE_CHECKING:
    from IPython.display import Image

RECORDED = Path(__file__).with_name("faults.json")

LEASE = 2
BURST = 20
"""How many messages are sent at once; then there is a pause of a fiftieth of a second."""

IN_A_LESSON = patient(40)
"""Seconds that the reader of a lesson waits, at most."""

PATIENCE = patient(60)
"""Seconds after which we give up waiting for what must come."""


@dataclass
class Findings:
    """What was promised, and what became of it."""

    day: str = field(default_factory=lambda: date.today().isoformat())
    engine: str = ""
    kills: dict[str, int] = field(default_factory=dict)
    answered: int = 0  # messages and jobs that were accepted
    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    redone: int = 0  # jobs that came again after their acknowledgement was answered
    pauses: dict[str, list[float]] = field(default_factory=dict)  # seconds without an answer
    rates: list[int] = field(default_factory=list)  # messages answered in each second
    marks: list[tuple[float, str]] = field(default_factory=list)  # when what was killed

    def told(self) -> str:
        lines = [
            f"{self.answered} accepted: {self.lost} lost, {self.doubled} doubled, "
            f"{self.out_of_order} out of order, {self.redone} done again"
        ]
        for kind, pauses in self.pauses.items():
            lines.append(
                f"{len(pauses)} × {kind} killed: {median(pauses):.1f} s without an answer, "
                f"at worst {max(pauses):.1f} s"
            )
        return "\n".join(lines)


def server_at(port: int, engine: str) -> Stage:
    """A server of the cluster, always on the same port."""
    settings = ["--engine", engine, "--lease", str(LEASE), "--log-limit", "300000"]
    return Stage("stages.beyond.cluster", "--host", "127.0.0.1", *settings, port=port)


class Load:
    """A publisher, two readers and two workers, each at the next of the servers."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.turns = itertools.cycle(range(len(ports)))
        self.ports = list(ports)
        self.numbers = itertools.count()
        self.answered: dict[str, list[str]] = {"news": [], "jobs": []}
        self.times: list[float] = []
        self.read: list[list[dict[str, Any]]] = [[], []]
        self.given: Counter[str] = Counter()
        self.done: set[str] = set()
        self.redone: set[str] = set()
        self.publishing = True

    def where(self) -> str:
        first = next(self.turns)
        ports = self.ports[first:] + self.ports[:first]
        return ",".join(f"127.0.0.1:{port}" for port in ports)

    def works(self) -> list[Coroutine[Any, Any, None]]:
        return [self.publish(), self.follow(0), self.follow(1), self.work(), self.work()]

    async def publish(self) -> None:
        where = self.where()
        while self.publishing:
            with suppress(OSError, EOFError):
                async with await Client.connect(where, speak="json", timeout=2) as client:
                    while self.publishing:
                        sends = [self.send(client, "news", "all") for _ in range(BURST)]
                        sends += [self.send(client, "jobs", "one") for _ in range(BURST // 2)]
                        await asyncio.gather(*sends)
                        await asyncio.sleep(0.02)
            await asyncio.sleep(0.02)

    async def send(self, client: Client, topic: str, delivery: str) -> None:
        text = str(next(self.numbers))
        await client.send(topic, text, delivery=delivery)
        self.answered[topic].append(text)
        self.times.append(time.monotonic())

    async def follow(self, number: int) -> None:
        async for message in follow(self.where(), "news", longest_delay=0.2, report=ignore):
            self.read[number].append(message)

    async def work(self) -> None:
        acknowledged: list[str] = []

        def lost(told: str) -> None:
            acknowledged.clear()  # who knows

        jobs = work(self.where(), "jobs", prefetch=10, longest_delay=0.2, report=lost)
        async for job in jobs:
            self.done.update(acknowledged)
            self.redone |= {job["msg"]} & self.done
            self.given[job["msg"]] += 1
            acknowledged[:] = [job["msg"]]

    async def wait_for_the_rest(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not self.all_has_come():
            await asyncio.sleep(0.1)

    def all_has_come(self) -> bool:
        read = all(set(self.answered["news"]) <= texts(some) for some in self.read)
        return read and set(self.answered["jobs"]) <= set(self.given)

    def judge(self, findings: Findings) -> None:
        findings.answered = sum(map(len, self.answered.values()))
        findings.lost = len(set(self.answered["jobs"]) - set(self.given))
        findings.redone = len(self.redone)
        for some in self.read:
            findings.lost += len(set(self.answered["news"]) - texts(some))
            findings.doubled += len(some) - len(texts(some))
            order = [(message["index"], int(message["msg"])) for message in some]
            findings.out_of_order += sum(
                later <= earlier or later_text <= earlier_text
                for (earlier, earlier_text), (later, later_text) in itertools.pairwise(order)
            )
        begin = self.times[0]
        seconds = Counter(int(moment - begin) for moment in self.times)
        findings.rates = [seconds[second] for second in range(max(seconds) + 1)]
        findings.marks = [(round(moment - begin, 1), what) for moment, what in findings.marks]


def texts(messages: list[dict[str, Any]]) -> set[str]:
    return {message["msg"] for message in messages}


def ignore(told: str) -> None:
    """A loss is what we are here for."""


@asynccontextmanager
async def running(works: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Do some works meanwhile."""
    tasks = [asyncio.create_task(each) for each in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def leader(nodes: Sequence[Node]) -> Node:
    """The node that leads the log, once all of its replicas are current."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for node in nodes:
            for account in node.ask("jsz?streams=true").get("account_details", []):
                for stream in account.get("stream_detail", []):
                    group = stream["cluster"]
                    current = all(each.get("current") for each in group.get("replicas", []))
                    if stream["name"] == "messages" and group.get("leader") == node.name:
                        if current and len(group.get("replicas", [])) == len(nodes) - 1:
                            return node
        await asyncio.sleep(0.1)
    raise TimeoutError(f"the log has no leader and current replicas within {PATIENCE} s")


async def pause_after(load: Load, moment: float) -> float:
    """Seconds that the publisher was without an answer, from a kill until it has answers again."""
    end = moment + PATIENCE
    while load.times[-1] < moment + 0.5 and time.monotonic() < end:
        await asyncio.sleep(0.02)
    await asyncio.sleep(1)
    around = [each for each in load.times if each > moment - 1]
    return round(max(later - earlier for earlier, later in itertools.pairwise(around)), 2)


async def kill_in_turns(times: int) -> Findings:
    """Start three nodes and two servers, kill one after the other, and see what became of it.
    Raises OSError, in one line, if there is no engine."""
    with launch_cluster() as nodes:
        findings = Findings(engine=nodes[0].ask("varz")["version"])
        async with AsyncExitStack() as stack:
            servers = [server_at(port, addresses(nodes)) for port in free_ports(2)]
            for server in servers:
                stack.callback(server.kill)
            load = Load([server.port for server in servers])
            async with running(load.works()):
                while not load.times:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(2)
                for number in progress(range(2 * times), "kill"):
                    kind = ("leader", "server")[number % 2]
                    victim = await leader(nodes) if kind == "leader" else servers[number // 2 % 2]
                    moment = time.monotonic()
                    victim.kill()
                    findings.marks.append((moment, kind))
                    findings.pauses.setdefault(kind, []).append(await pause_after(load, moment))
                    victim.start()
                    await leader(nodes)
                    await asyncio.sleep(1)
                load.publishing = False
                await load.wait_for_the_rest()
            findings.kills = dict.fromkeys(findings.pauses, times)
            load.judge(findings)
    return findings


async def kill_here_or_show_recorded(times: int) -> "Image":
    """Kill here, if there is an engine; else show what was recorded, and say so."""
    try:
        async with asyncio.timeout(IN_A_LESSON):
            findings = await kill_in_turns(times)
        return picture(findings, "run here")
    except OSError as problem:  # a time-out is one, too
        why = str(problem) or f"it did not end within {IN_A_LESSON} seconds here"
        return picture(recorded(), f"recorded, since {why}")


def picture(findings: Findings, origin: str) -> "Image":
    """Messages answered in each second, and when what was killed."""
    plot = figure(8.4, 3.2)
    axes = plot.subplots()
    axes.step(range(len(findings.rates)), findings.rates, where="post")
    colours = {"leader": "#c44e52", "server": "#dd8452"}
    for moment, what in findings.marks:
        axes.axvline(moment, color=colours[what], linestyle="--")
        axes.annotate(f" {what} killed", (moment, max(findings.rates)), rotation=90, va="top")
    axes.set_title(f"{findings.told()}\n({fill(origin, 110)})", loc="left", fontsize=9)
    axes.set_xlabel(f"seconds; messages answered in each; NATS {findings.engine}", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return as_image(plot)


def recorded() -> Findings:
    return Findings(**json.loads(RECORDED.read_text(encoding="utf-8")))


def main() -> None:
    parser = Parser(prog="stages.lab.lessons.cluster.faults", description=__doc__)
    parser.add_argument("times", type=int, help="kills of each kind")
    parser.add_argument("--save", action="store_true", help="keep the findings for lesson 11")
    chosen = parser.parse_args()
    if chosen.times < 1:
        parser.error(f"times must be at least 1: got {chosen.times}")
    try:
        findings = asyncio.run(kill_in_turns(chosen.times))
    except OSError as problem:
        parser.exit(1, f"{parser.prog}: {problem}\n")
    except KeyboardInterrupt:
        sys.exit(130)
    print(findings.told())
    if chosen.save:
        RECORDED.write_text(json.dumps(asdict(findings)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
