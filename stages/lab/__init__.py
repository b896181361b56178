"""What the notebooks use: launch a stage, connect clients, draw the traffic, check an exercise.

lab = launch(delivery.Server(seed=42))
alice = await lab.connect("alice")
await alice.subscribe("foo")
lab.diagram()
"""

from stages.lab.background import launch
from stages.lab.checking import check
from stages.lab.reading import show, steps

__all__ = ["check", "launch", "show", "steps"]
