"""What a program is told when it starts: arguments, and the settings of a stage.

Source: Python's `argparse`, made to complain in one line.
"""

import argparse
import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")

    @contextmanager
    def complaining(self, about: str = "") -> Iterator[None]:
        """Complain of what goes wrong in a `with` block."""
        try:
            yield
        except (ValueError, OSError) as problem:
            self.error(f"{about}{problem}")


def settings_of(stage: type) -> dict[str, Any]:
    """The settings of a stage and of those that it hands settings on to, earliest first, with their defaults."""
    settings: dict[str, Any] = {}
    for ancestor in stage.__mro__:
        if "__init__" in vars(ancestor):
            parameters = inspect.signature(vars(ancestor)["__init__"]).parameters.values()
            settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} | settings
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return settings


def trial_settings(stage: type, folder: str) -> dict[str, Any]:
    """The settings under which tests and exercises try a stage: with the same luck each time, its file in `folder`."""
    known = settings_of(stage)
    settings: dict[str, Any] = {"seed": 42} if "seed" in known else {}
    if "data" in known:
        # Its cache is longer than that of the earlier stages, whose tests it has to pass, too.
        settings |= {"data": os.path.join(folder, "messages.db"), "cache_length": 100}
    return settings
