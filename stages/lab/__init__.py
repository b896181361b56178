"""What the notebooks use: launch a stage, connect clients, draw the traffic, check an exercise.

    lab = launch(delivery.Server(seed=42))
    alice = await lab.connect("alice")
    await alice.subscribe("foo")
    lab.diagram()      # or lab.film()

Its folders: the `workbench` (launch, clients), `pictures` (of the record of what went over the
wire), `judging` (a class, by exercises and tests), `lessons` (the experiments of each), `bench`, and
what a browser lacks, `simulated`.
"""

from stages.lab.judging.check import check
from stages.lab.judging.guess import guessed, reveal
from stages.lab.pictures.legend import legend
from stages.lab.workbench.background import launch
from stages.lab.workbench.compare import compare
from stages.lab.workbench.reading import changes, overview, show

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
