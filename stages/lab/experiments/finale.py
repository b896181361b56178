"""All troubles of the course, on all stages: what each of them still holds against."""

import dataclasses
import importlib
import sys
from collections.abc import Awaitable, Callable
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from tqdm import tqdm

from stages import STAGES, settings
from stages.beyond import acks
from stages.lab.workbench.background import launch
from stages.lab.workbench.lab import Lab, NamedClient
from stages.lab.workbench.reading import Text, aligned, markdown_table


async def texts(client: NamedClient) -> list[Any]:
    return [message["msg"] for message in await client.all_messages()]


def work(lab: Lab) -> dict[str, Any]:
    return {"ack": True} if isinstance(lab.server, acks.Server) else {}


async def one_order(lab: Lab) -> bool:
    cooks = [await lab.connect(name) for name in ("alice", "bob", "carol")]
    for cook in cooks:
        await cook.subscribe("orders")
    shop = await lab.connect("shop")
    await shop.send("orders", "pizza", delivery="one")
    return sum([len(await cook.all_messages()) for cook in cooks]) == 1


async def too_late(lab: Lab) -> bool:
    alice, bob = await lab.connect("alice"), await lab.connect("bob")
    await bob.send("score", "1:0")
    await alice.subscribe("score")
    return await texts(alice) == ["1:0"]


async def came_back(lab: Lab) -> bool:
    alice, bank = await lab.connect("alice"), await lab.connect("bank")
    await alice.subscribe("payments")
    await bank.send("payments", "100")
    await alice.break_off()
    await bank.send("payments", "200")
    alice = await lab.connect("alice")
    await alice.subscribe("payments", last_seen=0)
    return await texts(alice) == ["200"]


async def work_for_the_dead(lab: Lab) -> bool:
    bob, boss = await lab.connect("bob"), await lab.connect("boss")
    await bob.subscribe("jobs")
    await bob.break_off()
    await boss.send("jobs", "wash", delivery="one")
    alice = await lab.connect("alice")
    await alice.subscribe("jobs")
    return await texts(alice) == ["wash"]


async def was_it_accepted(lab: Lab) -> bool:
    bob = await lab.connect("bob")
    return (await bob.send("orders", "pears")).get("success") is True


async def dead_worker(lab: Lab) -> bool:
    boss, alice, bob = [await lab.connect(name) for name in ("boss", "alice", "bob")]
    await alice.subscribe("jobs", **work(lab))
    await boss.send("jobs", "wash", delivery="one")
    await alice.break_off()
    await bob.subscribe("jobs", **work(lab))
    return await texts(bob) == ["wash"]


async def dead_server(lab: Lab) -> bool:
    bob = await lab.connect("bob")
    await bob.send("orders", "pears")
    server: Any = lab.server
    is_plain = not dataclasses.is_dataclass(server)
    lab.restart(type(server)() if is_plain else dataclasses.replace(server))
    alice = await lab.connect("alice")
    await alice.subscribe("orders")
    return await texts(alice) == ["pears"]


TROUBLES: dict[str, Callable[[Lab], Awaitable[bool]]] = {
    "one order is cooked once": one_order,
    "whoever comes late hears of it": too_late,
    "whoever comes back gets the rest": came_back,
    "no work for the dead": work_for_the_dead,
    "the sender knows that it was accepted": was_it_accepted,
    "a worker dies, its job does not": dead_worker,
    "the server dies, its messages do not": dead_server,
}


async def table() -> Text:
    """Have every stage go through every trouble: a row for each, ● where it holds."""
    rows = [["", *[stage.rpartition(".")[2] for stage in STAGES]]]
    with TemporaryDirectory() as folder:
        progress = tqdm(TROUBLES.items(), unit="trouble", file=sys.stdout, delay=2, leave=False)
        for trouble, holds in progress:
            row = [trouble]
            for stage in STAGES:
                kind = importlib.import_module(f"stages.{stage}").Server
                server = kind(**settings.trial_settings(kind, mkdtemp(dir=folder)))
                with launch(server) as lab:
                    row.append("●" if await holds(lab) else "·")
            rows.append(row)
    return Text(markdown_table(rows), aligned(rows))
