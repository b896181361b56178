"""The exercises of the notebooks: what a learner's own class is to do, tried out on a running
server.

Each is an async generator that drives clients and yields claims; its docstring is the task. It lies
in the file of the stage that it is an exercise for.
"""

from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import NamedTuple

from stages import STAGES
from stages.lab.judging.claims import Claim
from stages.lab.workbench.lab import Lab


class Exercise(NamedTuple):
    """What is tried, and the stage that a broker is tried in."""

    scenario: Callable[[Lab], AsyncIterator[Claim]]
    stage: str


EXERCISES = {
    scenario.__name__: Exercise(scenario, module)
    for module in STAGES
    for scenario in import_module(
        f"stages.lab.judging.exercises.{module.rpartition('.')[2]}"
    ).EXERCISES
}
