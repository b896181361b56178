"""What the notebooks use: launch a stage, connect clients, draw the traffic, check an exercise.

    lab = launch(delivery.Server(seed=42))
    alice = await lab.connect("alice")
    await alice.subscribe("foo")
    lab.diagram()      # or lab.film()

Its folders: the `workbench` (launch, clients, the record of what went over the wire), the
`pictures` made of the record, the `judging` of a class by exercises and tests, and the
`experiments` of single lessons.
"""

from stages.lab.judging.check import check
from stages.lab.judging.guess import guessed, reveal
from stages.lab.pictures.compare import compare
from stages.lab.pictures.legend import legend
from stages.lab.workbench.background import launch
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
