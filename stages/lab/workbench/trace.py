"""Which statements of the stages run in each step of a lab: the link between a picture and the
code."""

import ast
import asyncio
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import stages
from stages.lab.workbench.lab import PING, Lab, Tap

HOME = Path(stages.__file__).parent
PLUMBING = {"__init__", "addresses", "commands", "connection", "first_line", "log_filters"}
PLUMBING |= {"serve", "settings", "signals", "wire"}


@dataclass(frozen=True)
class Function:
    """A function of a stage; where it begins, and its lines."""

    file: str  # the stage, or its part
    qualname: str
    first: int
    source: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}.{self.qualname.rpartition('.')[2]}"


@dataclass(frozen=True)
class Call:
    """A function that has run, and which of its lines have."""

    function: Function
    ran: tuple[int, ...]


@cache
def places(path: str) -> dict[int, tuple[Function, tuple[int, ...]]]:
    """Of each line of a file: the function that it is in, and the lines of its statement.

    Python's versions differ in which lines of a statement they report.
    """
    text = Path(path).read_text(encoding="utf-8")
    lines = text.splitlines()
    found = {}
    for qualname, node in functions(ast.parse(text), ""):
        first, last = node.lineno, node.end_lineno or node.lineno
        indent = node.col_offset
        source = tuple(line[indent:].rstrip() for line in lines[first - 1 : last])
        function = Function(Path(path).stem, qualname, first, source)
        for statement in ast.walk(node):
            if (
                isinstance(statement, ast.stmt)
                and statement is not node
                and says_something(statement)
            ):
                whole = tuple(range(statement.lineno, end_of_head(statement) + 1))
                found.update(dict.fromkeys(whole, (function, whole)))
    return found


@cache
def is_ours(path: str) -> bool:
    return HOME in Path(path).parents


@cache
def is_of_stage(path: str) -> bool:
    """Whether a file has the rules of a stage."""
    return Path(path).parent in (HOME, HOME / "beyond") and Path(path).stem not in PLUMBING


def functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Any]]:
    """Functions and methods with their qualified names; a function inside another belongs to
    it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{prefix}{child.name}.")


def says_something(statement: ast.stmt) -> bool:
    docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return not docstring and not isinstance(statement, ast.Try | ast.FunctionDef | ast.Pass)


def end_of_head(statement: ast.stmt) -> int:
    """The last line of a statement, without those inside it."""
    body = getattr(statement, "body", None)
    return body[0].lineno - 1 if body else statement.end_lineno or statement.lineno


class TracedLab(Lab):
    """A lab that notes what runs in its server."""

    def __init__(self, *arguments: Any) -> None:
        self.ran: dict[int, dict[Function, set[int]]] = {}
        super().__init__(*arguments)

    async def handle_client(self, reader: asyncio.StreamReader, tap: Tap) -> None:
        sys.settrace(self.called)  # for the thread in which this server runs
        await super().handle_client(reader, tap)

    def called(self, frame: FrameType, event: str, argument: Any) -> Any:
        reads = frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR  # goes on at any time
        if reads or not is_of_stage(frame.f_code.co_filename):
            return None
        last = frame.f_lineno  # some versions of Python report the line that is resumed again

        def note(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            if event != "exception" and frame.f_lineno != last:
                self.note(frame)  # Python 3.14 reports a return after an empty loop only as such
                last = frame.f_lineno
            return note

        return note

    def note(self, frame: FrameType) -> None:
        place = places(frame.f_code.co_filename).get(frame.f_lineno)
        if place and self.steps and is_for_client(frame):
            function, lines = place
            calls = self.ran.setdefault(len(self.steps) - 1, {})
            calls.setdefault(function, set()).update(lines)

    def calls(self) -> list[list[Call]]:
        """Of each step the functions that ran, in the order in which they began."""
        return [
            [
                Call(function, tuple(sorted(lines)))
                for function, lines in self.ran.get(n, {}).items()
            ]
            for n in range(len(self.steps))
        ]


def is_for_client(frame: FrameType | None) -> bool:
    """Whether a frame handles what a client has said, or that it has left: no ping of the lab, no
    question of the lab about the state, and nothing that a server does by itself."""
    while frame and is_ours(frame.f_code.co_filename):
        if frame.f_code.co_filename.endswith("state.py"):
            return False
        if lines := said_in(frame):
            return not all(map(PING.search, lines))
        if frame.f_code.co_filename == __file__:  # the handler of a connection
            return True
        frame = frame.f_back
    return False


def said_in(frame: FrameType) -> list[bytes]:
    """The lines that a function is working on; a departure counts as one."""
    parameters = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    given = {name: frame.f_locals.get(name) for name in parameters}
    inputs = getattr(given.get("batch"), "inputs", given.get("inputs") or [])
    said = [data or b"(has left)" for _, data, *_ in inputs]
    said += [value for value in frame.f_locals.values() if isinstance(value, bytes)]
    return [line for data in said for line in data.splitlines()]
