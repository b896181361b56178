"""Wrong servers, a page for each stage. Each is caught by the claim beside its name, and fails no
sooner than it must: the class that it extends holds that claim."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=type)


def caught_by(claim: str) -> Callable[[T], T]:
    """Names the test that catches a wrong server, or a wrong broker."""

    def named(wrong: T) -> T:
        wrong.claim = claim  # type: ignore[attr-defined]
        return wrong

    return named
