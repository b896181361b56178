"""Which statements of the stages run in each step of a lab: the link between a picture and the
code."""

import ast
import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import stages
from stages.beyond.broker import Batch, Outgoing
from stages.beyond.server.inbox import Input
from stages.lab.workbench.lab import PING, Lab, Tap

HOME = Path(stages.__file__).parent
ROOMS = {HOME, *(HOME / "beyond" / room for room in ("", "broker", "server", "log", "door"))}
PLUMBING = {"__init__", "addresses", "command_line", "commands", "connection", "first_line"}
PLUMBING |= {"log_filters", "patience", "serve", "settings", "signals", "wire"}


@dataclass(frozen=True)
class Function:
    """A function of a stage, and its lines."""

    file: str  # of the stage, or of its part
    qualname: str
    source: tuple[str, ...]

    def __str__(self) -> str:
        return f"{Path(self.file).stem}.{self.qualname.rpartition('.')[2]}"


@dataclass(frozen=True)
class Call:
    """A function that has run, and which of its lines have; the first is 0. (Lines of the file
    would change with each line above.)"""

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
        file = Path(path).relative_to(HOME).as_posix()
        function = Function(file, qualname, source)
        for statement in ast.walk(node):
            if (
                isinstance(statement, ast.stmt)
                and statement is not node
                and says_something(statement)
            ):
                lines_of_it = range(statement.lineno, end_of_head(statement) + 1)
                whole = tuple(number - first for number in lines_of_it)
                found.update(dict.fromkeys(lines_of_it, (function, whole)))
    return found


@cache
def is_of_stage(path: str) -> bool:
    """Whether a file has the rules of a stage."""
    return Path(path).parent in ROOMS and Path(path).stem not in PLUMBING


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


FOR_CLIENT: ContextVar[bool] = ContextVar("FOR_CLIENT", default=False)
"""Whether a task does what a client has said, or that it has left. It does not where it answers a
ping of the lab, or does something by itself."""


def note_what_was_said(said: Iterable[bytes | None]) -> None:
    """A task has been given what clients have said; a departure (None, or nothing) counts, too."""
    lines = [line for data in said for line in (data or b"leaves").splitlines()]
    FOR_CLIENT.set(not all(map(PING.search, lines)))


def tells(read: Callable[..., Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
    """A method of a reader that tells what it returns."""

    async def reads(*arguments: Any) -> bytes:
        note_what_was_said([None])  # unless it returns something, the connection has broken
        data = await read(*arguments)
        note_what_was_said([data])
        return data

    return reads


class TracedLab(Lab):
    """A lab that notes what runs in its server."""

    def __init__(self, *arguments: Any) -> None:
        self.ran: dict[int, dict[Function, set[int]]] = {}
        super().__init__(*arguments)

    async def __aenter__(self) -> None:
        await super().__aenter__()
        server: Any = getattr(self.server, "behind", self.server)
        if hasattr(server, "broker"):
            carry_out = server.broker.carry_out

            def carries_out(batch: Batch) -> list[Outgoing]:
                note_what_was_said(data for _, data in batch.inputs)
                return carry_out(batch)  # type: ignore[no-any-return]

            server.broker.carry_out = carries_out
        if inbox := getattr(getattr(server, "sequencer", None), "inbox", None):
            take = inbox.take

            def takes() -> list[Input]:
                inputs: list[Input] = take()
                note_what_was_said(said.data for said in inputs)
                return inputs

            inbox.take = takes

    async def handle_client(self, reader: asyncio.StreamReader, tap: Tap) -> None:
        FOR_CLIENT.set(True)  # it connects
        sys.settrace(self.called)  # for the thread in which this server runs
        for name in ("read", "readline", "readuntil", "readexactly"):
            setattr(reader, name, tells(getattr(reader, name)))
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
        if place and self.steps and FOR_CLIENT.get():
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
