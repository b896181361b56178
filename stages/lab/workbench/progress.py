"""Progress bars, where somebody can see them.

A program that runs notebooks stores what they print, or compares it, and a bar prints more on a
slower machine. Such programs tell the kernel that there is nobody to ask for input.
"""

import sys
from typing import Any

from tqdm import tqdm

DELAY = 2
"""Seconds after which a bar is shown."""


def progress(works: Any, unit: str, **options: Any) -> "tqdm[Any]":
    """A bar on standard output, as all that goes to stderr is red in a notebook; gone at the end.
    Of None, it is moved on with `update`."""
    shown: dict[str, Any] = {"file": sys.stdout, "delay": DELAY, "leave": False}
    if not is_watched():  # else it is up to tqdm's own settings
        shown["disable"] = True
    return tqdm(works, unit=unit, **(shown | options))


def is_watched() -> bool:
    """Whether somebody may look at what a notebook's cell prints while it runs."""
    ipython = sys.modules.get("IPython")  # the judge does without it
    kernel = getattr(ipython.get_ipython(), "kernel", None) if ipython else None
    if sys.platform == "emscripten" or kernel is None:
        return True
    return bool(kernel.get_parent().get("content", {}).get("allow_stdin"))
