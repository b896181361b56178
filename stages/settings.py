"""The settings of a stage: what its constructor takes, each with its meaning, its limits, and the
value under which tests try it.

    high_water: int = setting(2**20, "bytes buffered for a client", at_least=1)

The stages of the article have two, as parameters of a plain `__init__`: see `KNOWN`.

Source: Python's `dataclasses`, whose fields may carry anything.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Meaning(NamedTuple):
    """What a setting is about: its meaning (and unit), its smallest value, and the value under
    which tests and exercises try a stage (in a text, `{folder}` stands for one of their own)."""

    text: str
    at_least: float | None = None
    more_than: float | None = None
    trial: object = None


KNOWN = {
    "seed": Meaning("the same random choices each time, for the same N", trial=42),
    "cache_length": Meaning("messages kept of each topic", at_least=0),
    "data": Meaning(
        "the file that keeps the messages", trial=os.path.join("{folder}", "messages.db")
    ),
}
"""What parameters of these names mean, also in a class of a learner's, which says nothing of it."""


class Setting(NamedTuple):
    """What a stage takes, under a name."""

    name: str
    default: object
    meaning: Meaning

    @property
    def kind(self) -> type:
        return int if self.default is None else type(self.default)

    @property
    def trial(self) -> object:
        known = KNOWN.get(self.name)
        return known.trial if self.meaning.trial is None and known else self.meaning.trial


def setting(
    default: T,
    text: str,
    *,
    at_least: float | None = None,
    more_than: float | None = None,
    trial: T | None = None,
) -> T:
    """A field of a dataclass that is a setting: see `Meaning`."""
    about = {"meaning": Meaning(text, at_least, more_than, trial)}
    field: T = dataclasses.field(default=default, kw_only=True, metadata=about)
    return field


def part(kind: Callable[[], T]) -> T:
    """A field of a dataclass that holds another part, with settings of its own: a `kind`, unless it
    is given."""
    field: T = dataclasses.field(default_factory=kind, metadata={"part": kind})
    return field


def parts_of(stage: type) -> dict[str, type]:
    """The classes of the parts that a stage holds, by field."""
    fields = dataclasses.fields(stage) if dataclasses.is_dataclass(stage) else ()
    return {each.name: each.metadata["part"] for each in fields if "part" in each.metadata}


def settings_of(stage: type) -> list[Setting]:
    """The settings that a stage takes, earliest first; without those of its parts."""
    found = {name: setting for name, setting in declared(stage) if name in names_taken(stage)}
    return list(found.values())


def declared(stage: type) -> Iterator[tuple[str, Setting]]:
    """The settings of a stage, and of those that it extends."""
    for each in reversed(stage.__mro__):
        if "__dataclass_fields__" in vars(each):
            for field in dataclasses.fields(each):
                if meaning := field.metadata.get("meaning"):
                    yield field.name, Setting(field.name, field.default, meaning)
        elif method := vars(each).get("__init__"):
            for name, parameter in signature(method).items():
                if name in KNOWN and parameter.default is not parameter.empty:
                    yield name, Setting(name, parameter.default, KNOWN[name])


def names_taken(stage: type) -> set[str]:
    """The names of all that its `__init__` takes, itself or as `**settings` for the next one."""
    names = set[str]()
    for each in stage.__mro__:
        if method := vars(each).get("__init__"):
            taken = signature(method)
            names.update(taken)
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
                break
    return names


def signature(method: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(method).parameters


def check(stage: type, values: Mapping[str, object]) -> None:
    """Raise ValueError if a value of a setting makes no sense."""
    for name, _, meaning in settings_of(stage):
        value = values.get(name)
        if not isinstance(value, int | float):
            continue
        if not abs(value) < 2**63:  # nor infinite, nor not a number
            raise ValueError(f"{name} must be less than 2**63: got {value}")
        if meaning.at_least is not None and not value >= meaning.at_least:
            raise ValueError(f"{name} must be at least {meaning.at_least}: got {value}")
        if meaning.more_than is not None and not value > meaning.more_than:
            raise ValueError(f"{name} must be more than {meaning.more_than}: got {value}")


def for_trial(stage: type[T], folder: str) -> T:
    """A server as tests and exercises try it, with its files in `folder`."""
    return stage(**trial_settings(stage, folder))


def trial_settings(stage: type, folder: str) -> dict[str, object]:
    """The settings of such a server, and its parts."""
    chosen = {each.name: each.trial for each in settings_of(stage)}
    values = {
        name: value.format(folder=folder) if isinstance(value, str) else value
        for name, value in chosen.items()
        if value is not None
    }
    return values | {name: for_trial(kind, folder) for name, kind in parts_of(stage).items()}
