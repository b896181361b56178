"""From `acks` to `fast`, a change at a time, each with what a message costs then.

    $ python -m stages.lab.lessons.fast.steps

As a program it measures anew, which takes a quarter of a minute; with `--record` it writes what
lesson 10 shows.
"""

import asyncio
import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from tqdm import trange

from stages import wire
from stages.beyond import acks, fast
from stages.beyond.broker import Batch, Rules, commands
from stages.beyond.broker.commands import Answer, Message, Send
from stages.beyond.broker.topic import Client
from stages.beyond.server.connection import Connection
from stages.beyond.server.sequencer import AtOnce
from stages.lab.pictures.plot import as_image, figure

if TYPE_CHECKING:
    from IPython.display import Image

FILE = Path(__file__).with_name("steps.json")
MESSAGES, ROUNDS = 20_000, 9


# The changes, one at a time


class WholeBatches(acks.Server):
    """What has come is not cut into lines before the broker does it."""

    hear = fast.Server.hear
    lines_in_turn = fast.Server.lines_in_turn


class OneWrite(WholeBatches):
    """All that a client is sent goes into its outbox together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sequencer = AtOnce(self.broker, fast.OneWrite(self), self.time)


class EachEncoded(fast.Broker):
    """A run of messages is numbered together, but each is encoded for itself."""

    def tell_encoded(self, clients: Sequence[Client], what: Sequence[Message | Answer]) -> None:
        if clients:
            self.outgoing.append((tuple(clients), [commands.encode(each) for each in what]))


class Runs(OneWrite):
    """A run of messages is numbered together."""

    broker_class: ClassVar[type[acks.Broker]] = EachEncoded


class EncodedTogether(Runs):
    """And encoded together: this is `fast`."""

    broker_class = fast.Broker


# Wrong turns


class DecodedTogether(fast.Broker):
    """The decoder is given all lines at once, and finds the line breaks itself."""

    def decode_lines(self, data: bytes) -> list[Any]:
        return self.decoder.decode_lines(data)


class DecodedAndChecked(DecodedTogether):
    """And only if each line break stands between two commands: then none is within one."""

    def decode_lines(self, data: bytes) -> list[Any]:
        breaks = data.count(b"\n")
        if data.count(b"}\n{") == breaks:
            with suppress(*commands.UNDECODABLE):
                found = super().decode_lines(data)
                if len(found) == breaks + 1:
                    return found
        return fast.Broker.decode_lines(self, data)


class TopicByTopic(fast.Broker):
    """A run is a run of one topic: simpler, and without a question for each message."""

    def send_run(self, sends: list[Send], client: Client) -> None:
        for name, run in groupby(sends, attrgetter("topic")):
            topic = self.topic(name)
            messages = []
            for send in run:
                messages.append(self.numbered(topic, send))
                topic.next_index += 1
            topic.cache.extend(message for message in messages if message.cache is not False)
            topic.trim(self.rules.cache_length)
            self.tell_encoded(topic.subscribers.clients, messages)
        self.answer_run(sends, client)


def with_broker(broker: type[acks.Broker]) -> type[acks.Server]:
    return type(broker.__name__, (EncodedTogether,), {"broker_class": broker})


STEPS: dict[str, type[acks.Server]] = {
    "acks: line by line": acks.Server,
    "whole batches": WholeBatches,
    "one write a client": OneWrite,
    "numbered in runs": Runs,
    "encoded together (fast)": EncodedTogether,
}
WRONG_TURNS: dict[str, type[acks.Server]] = {
    "decoded together": with_broker(DecodedTogether),
    "decoded together, and checked": with_broker(DecodedAndChecked),
    "runs of one topic": with_broker(TopicByTopic),
}
NO_COLLECTOR = "whole batches, and no garbage collector"


# Measuring


class Deaf:
    """A client's connection that takes everything, and forgets it."""

    def __init__(self) -> None:
        self.transport: Any = self

    def write(self, data: bytes) -> None: ...
    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None: ...
    def get_extra_info(self, name: str) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None: ...


async def hears(server: acks.Server, data: bytes) -> None:
    """Let a client say something, and leave."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    await server.handle_client(reader, Connection(Deaf()))  # type: ignore[arg-type]


async def stays(server: acks.Server, data: bytes) -> None:
    """Let a client say something, and stay."""
    client = next(server.numbers)
    server.connected(client, Connection(Deaf()))  # type: ignore[arg-type]
    await server.submit(client, data)


def said(topics: int, number: int = MESSAGES) -> bytes:
    """So many messages of 100 bytes, to so many topics in turn."""
    line = '{{"command":"send","topic":"foo{}","msg":"{:0>100}","delivery":"all"}}\n'
    return "".join(line.format(n % topics, n) for n in range(number)).encode()


def cost(stage: type[acks.Server], topics: int = 1, subscribers: int = 1) -> float:
    """Microseconds a message, in the server alone: without the system's calls."""

    async def measured() -> float:
        server = stage(cache_length=1000)
        subscribe = '{{"command":"subscribe","topic":"foo{}"}}'
        wanted = "\n".join(subscribe.format(n) for n in range(topics)).encode()
        for _ in range(subscribers):
            await stays(server, wanted)
        data = said(topics)
        begin = time.perf_counter()
        await hears(server, data)
        return (time.perf_counter() - begin) / MESSAGES * 1e6

    return asyncio.run(measured())


def timed(what: Callable[[], object]) -> float:
    """Microseconds a message that something takes which is done for all of them."""
    begin = time.perf_counter()
    what()
    return (time.perf_counter() - begin) / MESSAGES * 1e6


def profile() -> dict[str, float]:
    """Where a message's time goes in `acks`, in microseconds."""
    broker = acks.Broker(Rules(cache_length=1000))
    broker.carry_out(Batch(0, [(1, b'{"command":"subscribe","topic":"foo0"}')]))
    data = said(1)
    lines = data.split(b"\n")[:-1]
    batches = [b"\n".join(lines[start : start + 100]) for start in range(0, MESSAGES, 100)]
    lately = broker.carry_out(Batch(0, [(2, batches[0])]))[1]
    told = [each for _, what in lately for each in what] * (MESSAGES // 100)
    cutting = timed(lambda: wire.Lines(commands.LIMIT).feed(data))
    decoding = timed(lambda: [commands.decode(line, broker.decoder) for line in lines])
    encoding = timed(lambda: [commands.encode(each) for each in told])
    ruling = timed(lambda: [len(broker.carry_out(Batch(0, [(2, data)]))) for data in batches])
    whole = cost(acks.Server)
    return {
        "cut into lines": cutting,
        "decode": decoding,
        "rules": ruling - decoding,
        "encode": encoding,
        "pass on": whole - cutting - ruling - encoding,
    }


def without_collector() -> float:
    gc.disable()
    try:
        return cost(WholeBatches)
    finally:
        gc.enable()


def limited(lines: int) -> type[acks.Server]:
    return type("Limited", (EncodedTogether,), {"lines_in_turn": lines})


@dataclass
class Steps:
    """What was measured, and where. All costs are in microseconds a message."""

    costs: dict[str, float]
    two_topics: dict[str, float]
    profile: dict[str, float]
    batches: dict[int, float]
    day: str = field(default_factory=lambda: date.today().isoformat())
    machine: str = field(
        default_factory=lambda: (
            f"{platform.system()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
        )
    )

    def table(self, names: Sequence[str] = tuple(STEPS)) -> str:
        """A row a step: its cost, and how many times as fast it is as the one before."""
        lines = [f"{self.day}, {self.machine}", f"{'':42}µs a message   as fast as before"]
        before = None
        for name in names:
            each = self.costs[name]
            factor = f"{before / each:.1f} ×" if before else ""
            lines.append(f"{name:42}{each:12.2f}{factor:>20}")
            before = each
        return "\n".join(lines)

    def parts_picture(self) -> "Image":
        """Where a message's time goes in `acks`."""
        return bars(self.profile, "a message in acks, µs")

    def findings(self) -> dict[str, str]:
        """Which step makes it faster by the largest factor, and which make it slower."""
        names = list(STEPS)
        factors = {name: self.costs[before] / self.costs[name] for before, name in pairwise(names)}
        slower = [name for name, factor in factors.items() if factor < 1]
        return {
            "is the largest factor": max(factors, key=lambda name: factors[name]),
            "makes it slower": ", ".join(slower) or "none",
        }

    def steps_picture(self) -> "Image":
        """What is left of it after each change."""
        return bars({name: self.costs[name] for name in STEPS}, "after each change, µs")


def bars(costs: dict[str, float], title: str) -> "Image":
    plot = figure(5.6, 2.4)
    axes = plot.subplots()
    axes.barh(list(costs)[::-1], list(costs.values())[::-1], color="#4c72b0")
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return as_image(plot)


def recorded() -> Steps:
    """What was measured when this was written."""
    return msgspec.json.decode(FILE.read_bytes(), type=Steps)


def measure() -> Steps:
    """Measure anew, all in turn, and again; it takes a quarter of a minute. Of each the median
    counts."""
    every = STEPS | WRONG_TURNS
    last = [list(STEPS)[-1], *WRONG_TURNS]
    rounds: list[Steps] = []
    for _ in trange(ROUNDS, unit="round"):
        costs = {name: cost(stage) for name, stage in every.items()}
        costs[NO_COLLECTOR] = without_collector()
        two_topics = {name: cost(every[name], topics=2) for name in last}
        batches = {lines: cost(limited(lines)) for lines in (1, 10, 100, 500)}
        rounds.append(Steps(costs, two_topics, profile(), batches))
    return Steps(
        costs=medians([each.costs for each in rounds]),
        two_topics=medians([each.two_topics for each in rounds]),
        profile=medians([each.profile for each in rounds]),
        batches=medians([each.batches for each in rounds]),
    )


def medians(rounds: list[dict[Any, float]]) -> dict[Any, float]:
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


if __name__ == "__main__":
    made = measure()
    print(made.table())
    if "--record" in sys.argv:
        FILE.write_bytes(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
