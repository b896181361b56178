"""The exercises are tested: each of the wrong answers in `wrong_answers/` is refused by the claim
named for it. (That the right ones are accepted: `test_notebooks`.)"""

import importlib
from collections import Counter
from typing import Any

import pytest
from matrix import NAMES

from stages.lab import check
from stages.lab.judging.exercises import EXERCISES

pytestmark = pytest.mark.slow

WRONG: list[Any] = [
    thing
    for stage in NAMES
    for thing in vars(importlib.import_module(f"wrong_answers.{stage}")).values()
    if isinstance(thing, type) and "exercise" in vars(thing)
]


@pytest.fixture(autouse=True)
def asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong answer is to be refused each time."""
    monkeypatch.setattr("stages.lab.judging.check.asked_twice", lambda ask: ask())


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.exercise}-{wrong.__name__}")
async def test_a_wrong_answer_is_refused_by_its_claim(wrong: Any) -> None:
    told = str(await check(wrong, wrong.exercise))
    assert f"✗ {wrong.claim.replace('`', '')}: " in told
    assert told.endswith("not yet")


def test_every_exercise_refuses_at_least_four_wrong_answers() -> None:
    counts = Counter(wrong.exercise for wrong in WRONG)
    assert {name: counts[name] for name in EXERCISES if counts[name] < 4} == {}
