"""Lesson 12: how long a known client waits for an answer, calm and while others try the door.

$ python -m stages.lab.lessons.secure.siege
"""

import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from stages.client import Client
from stages.lab.lessons.cluster.faults import running
from stages.lab.lessons.durable import crash
from stages.lab.lessons.secure.doors import Authority, file_of
from stages.lab.workbench import processes
from stages.lab.workbench.reading import aligned

HOST, TRIPS = "127.0.0.1", 1000

Attack = Callable[[int], Coroutine[Any, Any, None]]


async def says_nothing(port: int) -> None:
    """Connects, and waits until it is sent away."""
    reader, writer = await asyncio.open_connection(HOST, port)
    with suppress(OSError):
        await reader.read()
    writer.close()


async def says_little(port: int) -> None:
    """A byte now and then, of a line that never ends."""
    _, writer = await asyncio.open_connection(HOST, port)
    with suppress(OSError):
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)
    writer.close()


async def guesses(port: int) -> None:
    """One token after the other, without waiting to be told."""
    for number in itertools.count():
        _, writer = await asyncio.open_connection(HOST, port)
        writer.write(b'{"command": "auth", "token": "%d"}\n' % number)
        await asyncio.sleep(0.02)
        writer.transport.abort()


async def sends_much(port: int) -> None:
    """Lines of a megabyte, each on a connection of its own."""
    while True:
        _, writer = await asyncio.open_connection(HOST, port)
        with suppress(OSError):
            writer.write(b"x" * 2**20)
            await asyncio.wait_for(writer.drain(), 0.1)
        writer.transport.abort()
        await asyncio.sleep(0.1)


ATTACKS: dict[str, list[Attack]] = {
    "calm": [],
    "200 that say nothing": [says_nothing] * 200,
    "200 that say little": [says_little] * 200,
    "10 that guess": [guesses] * 10,
    "5 that send a megabyte": [sends_much] * 5,
    "all of them": [*[says_nothing] * 100, *[says_little] * 100, *[guesses] * 5, *[sends_much] * 2],
}


async def again_and_again(attack: Attack, port: int) -> None:
    while True:
        with suppress(OSError):
            await attack(port)
        await asyncio.sleep(0.01)


async def besiege(name: str, port: int) -> None:
    """As a process of its own: the attack `name`, until it is killed."""
    async with running(again_and_again(attack, port) for attack in ATTACKS[name]):
        await asyncio.Event().wait()


async def round_trips(port: int, authority: Authority) -> list[float]:
    """Milliseconds for each."""
    how: Any = {"token": "token of alice", "ssl": authority.trusting()}
    took = []
    async with await Client.connect(port, "localhost", **how) as client:
        await asyncio.sleep(1)
        for _ in range(TRIPS):
            begin = time.perf_counter()
            await client.send("mail/alice", "x")
            took.append(1000 * (time.perf_counter() - begin))
    return took


def measure(name: str, port: int, authority: Authority) -> list[str]:
    attackers = processes.Program([sys.executable, __file__, name, str(port)])
    attackers.start(stderr=None)
    try:
        took = asyncio.run(round_trips(port, authority))
    finally:
        attackers.kill()
    hundredths = statistics.quantiles(took, n=100)
    return [name, f"{statistics.median(took):.2f} ms", f"{hundredths[98]:.2f} ms"]


def main() -> None:
    authority = Authority()
    certificate = authority.certificate("localhost")
    settings = ["--users", file_of(alice="mail/*"), "--certificate", certificate]
    rows = [["", "median", "99 of 100"]]
    server = processes.Stage("stages.beyond.secure", "--data", crash.new_file(), *settings)
    try:
        for name in tqdm(ATTACKS, unit="attack", delay=2):
            rows.append(measure(name, server.port, authority))
    finally:
        server.kill()
    print(aligned(rows))


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(besiege(sys.argv[1], int(sys.argv[2])))
    else:
        main()
