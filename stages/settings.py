"""The settings of a stage: fields of its `Server`, a dataclass, each with its meaning; and the
command line's flags made from them.

    cache_length: int = setting(100, "messages kept of each topic", at_least=0)

    $ python -m stages.caching 7777 --cache-length 1000

Source: Python's `argparse`, made to complain in one line.
"""

import argparse
import dataclasses
import inspect
import os
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


def setting(
    default: T,
    meaning: str,
    *,
    at_least: float | None = None,
    more_than: float | None = None,
    trial: T | None = None,
) -> T:
    """A field of a dataclass: a setting with its default, its meaning (and unit), its smallest
    value, and the value under which tests and exercises try a stage (in a text, `{folder}` stands
    for one of their own)."""
    about = {"meaning": meaning, "at_least": at_least, "more_than": more_than, "trial": trial}
    field: T = dataclasses.field(default=default, kw_only=True, metadata=about)
    return field


def settings_of(stage: type) -> list[dataclasses.Field[Any]]:
    """The settings of a stage, earliest first."""
    fields = dataclasses.fields(stage) if dataclasses.is_dataclass(stage) else ()
    return [field for field in fields if "meaning" in field.metadata]


def copy_of(field: dataclasses.Field[Any]) -> Any:
    """The same setting, for another class."""
    return dataclasses.field(default=field.default, kw_only=True, metadata=field.metadata)


def check(server: object) -> None:
    """Raise ValueError if a setting of the server makes no sense."""
    for field in settings_of(type(server)):
        value, about = getattr(server, field.name), field.metadata
        if isinstance(value, int | float) and not abs(value) < 2**63:  # nor infinite, nor no number
            raise ValueError(f"{field.name} must be less than 2**63: got {value}")
        if about["at_least"] is not None and not value >= about["at_least"]:
            raise ValueError(f"{field.name} must be at least {about['at_least']}: got {value}")
        if about["more_than"] is not None and not value > about["more_than"]:
            raise ValueError(f"{field.name} must be more than {about['more_than']}: got {value}")


def trial_settings(stage: type, folder: str) -> dict[str, Any]:
    """The settings under which tests and exercises try a stage, with its files in `folder`."""
    # A class of one's own may have an `__init__` that takes none of them.
    accepted = inspect.signature(stage).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted)
    names = {parameter.name for parameter in accepted}
    wanted = [field for field in settings_of(stage) if takes_all or field.name in names]
    chosen = {field.name: trial_of(field, folder) for field in wanted}
    return {name: value for name, value in chosen.items() if value is not None}


def trial_of(field: dataclasses.Field[Any], folder: str) -> Any:
    """The value of a setting for a trial; None: its default."""
    if field.name == "data":  # also in a class of a learner's, who knows nothing of trials
        return os.path.join(folder, "messages.db")
    value = field.metadata["trial"]
    return value.format(folder=folder) if isinstance(value, str) else value


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")

    def add_settings(self, stage: type) -> None:
        """Add a flag for each setting of a stage."""
        for field in settings_of(stage):
            kind = int if field.default is None else type(field.default)
            default = "" if field.default in (None, "") else f" (default: {field.default})"
            self.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=kind,
                default=field.default,
                metavar=field.name.upper() if kind is str else "N",
                help=field.metadata["meaning"].replace("%", "%%") + default,
            )
