"""The stories of the course on all stages, and how they end."""

import importlib
from collections.abc import Callable
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from stages import STAGES, settings
from stages.beyond import cluster, secure
from stages.lab import stories
from stages.lab.workbench.background import launch
from stages.lab.workbench.compare import Story
from stages.lab.workbench.lab import Lab
from stages.lab.workbench.progress import progress
from stages.lab.workbench.reading import Text, aligned, markdown_table


def heard(lab: Lab, name: str) -> list[Any]:
    return [message["msg"] for message in lab.clients[name].messages]


def cooked(lab: Lab) -> int:
    return sum(heard(lab, cook).count("one pizza") for cook in ("alice", "bob", "carol"))


TROUBLES: dict[str, tuple[Story, Callable[[Lab], bool]]] = {
    "one order is cooked once": (stories.orders, lambda lab: cooked(lab) == 1),
    "whoever comes late hears of it": (
        stories.score,
        lambda lab: heard(lab, "alice") == ["1:0", "1:1"],
    ),
    "whoever comes back gets the rest": (
        stories.payments,
        lambda lab: heard(lab, "alice") == ["200 to Carol"],
    ),
    "no work for the dead": (stories.jobs, lambda lab: heard(lab, "alice") == ["wash the car"]),
    "the sender knows that it was accepted": (
        stories.typo,
        lambda lab: any(step.answer for step in lab.steps if step.kind == "send"),
    ),
    "a worker dies, its job does not": (
        stories.workers,
        lambda lab: heard(lab, "bob") == ["wash", "feed"],
    ),
    "the server dies, its messages do not": (
        stories.restart,
        lambda lab: "wash the car" in heard(lab, "bob"),
    ),
    "its machine burns, its messages do not": (
        stories.fire,
        lambda lab: heard(lab, "bob") == ["wash the car"],
    ),
    "no stranger reads the mail": (
        stories.mail,
        lambda lab: heard(lab, "mallory") == [] and heard(lab, "alice") != [],
    ),
}
"""Of each trouble the story, and whether it ended well."""


def tried(stage: str, folder: str) -> Any:
    """A server of a stage. What stands behind the door is a cluster, which promises most."""
    if stage == "beyond.secure":
        return secure.Door(settings.for_trial(cluster.Server, folder), users="")
    return settings.for_trial(importlib.import_module(f"stages.{stage}").Server, folder)


async def table() -> Text:
    """Have every stage go through every trouble: a row for each, ● where it holds."""
    rows = [["", *[stage.rpartition(".")[2] for stage in STAGES]]]
    with TemporaryDirectory() as folder:
        for trouble, (story, ended_well) in progress(TROUBLES.items(), "trouble"):
            row = [trouble]
            for stage in STAGES:
                with launch(tried(stage, mkdtemp(dir=folder))) as lab:
                    await story(lab)
                    row.append("●" if ended_well(lab) else "·")
            rows.append(row)
    return Text(markdown_table(rows), aligned(rows))
