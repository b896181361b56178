"""What the notebooks use: launch a stage, connect clients, draw the traffic, check an exercise.

    lab = launch(delivery.Server(seed=42))
    alice = await lab.connect("alice")
    await alice.subscribe("foo")
    lab.diagram()      # or lab.film()

Its folders: the `workbench` (launch, clients), `pictures` (of the record of what went over the
wire), `judging` (a class, by exercises and tests), `lessons` (the experiments of each), `bench`, and
what a browser lacks, `simulated`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.lab.judging.check import check
    from stages.lab.judging.guess import guessed, reveal
    from stages.lab.pictures.legend import legend
    from stages.lab.workbench.background import launch
    from stages.lab.workbench.compare import compare
    from stages.lab.workbench.reading import changes, overview, show

HOMES = {
    "changes": "workbench.reading",
    "check": "judging.check",
    "compare": "workbench.compare",
    "guessed": "judging.guess",
    "launch": "workbench.background",
    "legend": "pictures.legend",
    "overview": "workbench.reading",
    "reveal": "judging.guess",
    "show": "workbench.reading",
}

__all__ = [
    "changes",
    "check",
    "compare",
    "guessed",
    "launch",
    "legend",
    "overview",
    "reveal",
    "show",
]


def __getattr__(name: str) -> object:
    """Each is imported when it is asked for: the judge, a program, does without Jupyter."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
