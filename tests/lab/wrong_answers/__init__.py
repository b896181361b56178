"""Wrong answers to the exercises, a page for each lesson. Each is refused by the claim beside its
name."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=type)


def wrong_answer_to(exercise: str, claim: str) -> Callable[[T], T]:
    """Names the exercise, and the claim that does not hold."""

    def named(wrong: T) -> T:
        wrong.exercise, wrong.claim = exercise, claim  # type: ignore[attr-defined]
        return wrong

    return named
