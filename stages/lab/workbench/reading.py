"""Read the stages without leaving the notebook: their source, and who defines what."""

import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any


@dataclass(frozen=True)
class Text:
    """Something to read, shown as Markdown where that can be displayed."""

    markdown: str
    plain: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/markdown": self.markdown, "text/plain": self.plain}

    def __str__(self) -> str:
        return self.plain


def show(*things: Any, folded: str = "") -> Text:
    """The highlighted source of modules, classes, methods or functions; `folded` under a title,
    until somebody asks for it. Raises TypeError for anything else."""
    source = "\n\n".join(map(source_of, things))
    markdown = f"```python\n{source}\n```"
    if folded:
        summary = f"<summary>{folded}</summary>"
        return Text(f"<details>{summary}\n\n{markdown}\n\n</details>", f"{folded}:\n\n{source}")
    return Text(markdown, source)


class Changes:
    """A unified diff, coloured where that can be displayed."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = [line.rstrip() for line in lines]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        coloured = [
            f"{COLOURS[line[:1]]}{line}\033[0m" if line[:1] in COLOURS else line
            for line in self.lines
        ]
        return {"text/plain": "\n".join(coloured)}

    def __str__(self) -> str:
        return "\n".join(self.lines)


COLOURS = {"-": "\033[31m", "+": "\033[32m"}


def changes(before: Any, after: Any) -> Changes:
    """What differs between two methods or functions, line by line: `-` is gone, `+` is new."""
    old, new = source_of(before).splitlines(), source_of(after).splitlines()
    return Changes([*list(unified_diff(old, new, n=99, lineterm=""))[3:], ""])


def source_of(thing: Any) -> str:
    try:
        return inspect.cleandoc("\n" + inspect.getsource(thing))
    except (TypeError, OSError):
        raise TypeError(
            f"show expects a module, class or method that was read from a file, not {thing!r}"
        ) from None


def overview(server: type) -> Text:
    """A whole server at a glance: a row for each method, a column for its class and for each one
    that it extends.

    A cell says whether the stage defines the method (●), extends it (○: calls the one before) or
    replaces it (◆).
    """
    columns = {stage_name(ancestor): ancestor for ancestor in reversed(server.__mro__[:-1])}
    methods = {
        method: None
        for server in columns.values()
        for method in vars(server)
        if is_method(server, method)
    }
    rows = [["", *columns]] + [
        [method, *(role(server, method) for server in columns.values())] for method in methods
    ]
    code = [[f"`{method}`" if method else "", *cells] for method, *cells in rows]
    return Text(markdown_table(code), aligned(rows))


def markdown_table(rows: list[list[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


def aligned(rows: list[list[str]]) -> str:
    """A table in plain text, as wide as its cells need."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def stage_name(server: type) -> str:
    """The stage that a class is the server of, or the name of a learner's class."""
    is_stages = server is getattr(sys.modules.get(server.__module__), "Server", None)
    is_stages = is_stages or server.__name__ == "Server"
    return server.__module__.rpartition(".")[2] if is_stages else server.__name__


def is_method(server: type, name: str) -> bool:
    """Whether somebody has written it: Python's versions differ in what they make by themselves."""
    method = vars(server).get(name)
    if not inspect.isfunction(method) or name == "__annotate_func__":
        return False
    generated = inspect.unwrap(method).__code__.co_filename == "<string>"
    return method.__module__ == server.__module__ and not generated


def role(server: type, method: str) -> str:
    if not is_method(server, method):
        return ""
    if not any(method in vars(ancestor) for ancestor in server.__mro__[1:-1]):
        return "●"
    return "○" if "super" in vars(server)[method].__code__.co_names else "◆"
