"""How sharp are the tests? Change the stages by machine, one place at a time, and count the changes
that no test notices.

    $ python tests/mutants.py                           # everything: two hours
    $ python tests/mutants.py caching beyond/outbox     # some files

A change is caught if a test fails, or hangs. Only tests that call the changed function are run, the
quickest first, and none of the slow ones. Not all that survive are faults of the tests: some change
nothing that a client could see.

Source: DeMillo, Lipton and Sayward, *Hints on Test Data Selection* (1978).
"""

import ast
import copy
import faulthandler
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple

import pytest
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
# Spelled out: a module that this program imports would not be imported anew, changed, by a mutant.
SHARED = [
    "basic", "delivery", "caching", "last_seen", "disconnects",
    "replies", "slow_consumers", "acks", "durable",
]  # fmt: skip
FIVE = SHARED[:5]
JUDGES = {
    **{stage: [*FIVE, "wire", "model", "hostile", "serve"] for stage in ("wire", *FIVE)},
    "connection": ["connection", *SHARED[:7], "outbox", "hostile", "client"],
    "serve": ["serve", *FIVE, "command_line", "hostile", "judging"],
    "settings": ["serve", "command_line", "caching", "acks", "durable"],
    "beyond/commands": [*SHARED[:8], "broker", "fast"],
    "beyond/topic": [*SHARED, "broker", "simulation"],
    "beyond/broker": [*SHARED, "broker", "simulation"],
    "beyond/replies": [*SHARED[:8], "broker", "hostile", "command_line"],
    "beyond/outbox": ["outbox", *SHARED[:8], "fast"],
    "beyond/slow_consumers": ["slow_consumers", *SHARED[:8], "command_line"],
    "beyond/in_flight": ["acks", "broker", "durable", "simulation"],
    "beyond/acks": ["acks", *SHARED, "broker", "simulation", "model"],
    "beyond/log": ["log", "durable", "simulation"],
    "beyond/durable": [*SHARED, "simulation", "command_line"],
    "beyond/whole_lines": ["fast", *SHARED[:8], "command_line"],
    "beyond/fast": ["fast", *SHARED, "simulation", "command_line"],
    "beyond/replica": ["cluster", "exercises", "simulated_cluster"],
    "beyond/shared_log": ["cluster", "simulated_cluster"],
    "beyond/cluster": ["cluster", *SHARED, "simulated_cluster", "command_line"],
    "beyond/users": ["secure", "exercises"],
    "beyond/guard": ["secure", *SHARED[:8], "command_line"],
    "beyond/secure": ["secure", "command_line"],
}
"""The tests that judge a file, by its name in `stages`."""

OPPOSITES: dict[type[ast.AST], type[Any]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add,
}  # fmt: skip
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
UNTOUCHED = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Mutant(NamedTuple):
    function: int
    """The line on which the changed function begins, as Python counts: with its decorators."""

    line: int
    was: str
    source: str
    """The whole file, changed."""

    now: str


class Test(NamedTuple):
    name: str
    seconds: float


Called = dict[int, list[Test]]
"""The tests that call a function, by the line on which it begins."""


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What might stand in a node's place."""
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in OPPOSITES:
            yield ast.Compare(node.left, [OPPOSITES[type(op)](), *node.ops[1:]], node.comparators)
        case ast.BoolOp() | ast.BinOp() if type(node.op) in OPPOSITES:
            yield with_(node, op=OPPOSITES[type(node.op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
        case ast.Name(ctx=ast.Load()) if node.id in SWAPPED:
            yield ast.Name(SWAPPED[node.id], ast.Load())
        case ast.If() | ast.IfExp():
            for truth in (True, False):
                yield with_(node, test=ast.Constant(truth))
        case ast.Return(value=ast.expr() as value) if not is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.comprehension(ifs=[_, *_]):
            yield ast.comprehension(node.target, node.iter, [], node.is_async)
    if isinstance(node, ast.stmt) and is_droppable(node):
        yield ast.Pass()


def with_(node: ast.AST, **fields: ast.AST) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def is_droppable(node: ast.stmt) -> bool:
    """Whether a statement can be left out: no definition, docstring, log record or declaration."""
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant) and not is_logging(node.value)
    return isinstance(
        node, ast.Assign | ast.AugAssign | ast.Delete | ast.Raise | ast.Continue | ast.Break
    )


def is_logging(value: ast.expr) -> bool:
    return ast.unparse(value).startswith(("log.", "yield", "print("))


def places(tree: ast.Module) -> Iterator[tuple[int, ast.AST, str, int | None]]:
    """Every field of every node that holds another one, inside functions: what is changed there
    runs. With the line on which the function begins."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            begins = min(each.lineno for each in (function, *function.decorator_list))
            for number in range(len(function.body)):
                for place in places_in(function, "body", number):
                    yield begins, *place


def places_in(
    parent: ast.AST, field: str, number: int | None
) -> Iterator[tuple[ast.AST, str, int | None]]:
    node = getattr(parent, field) if number is None else getattr(parent, field)[number]
    if isinstance(node, UNTOUCHED):
        return
    yield parent, field, number
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "msg"):
            continue
        if isinstance(value, ast.AST):
            yield from places_in(node, name, None)
        elif isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield from places_in(node, name, index)


def mutants_of(source: str) -> Iterator[Mutant]:
    tree = ast.parse(source)
    for function, parent, field, number in places(tree):
        holder = getattr(parent, field)
        node = holder if number is None else holder[number]
        for variant in variants(node):
            put(parent, field, number, variant)
            changed = ast.unparse(ast.fix_missing_locations(tree))
            put(parent, field, number, node)
            was, now = (ast.unparse(each).partition("\n")[0] for each in (node, variant))
            yield Mutant(function, getattr(node, "lineno", 0), was, changed, now)


def put(parent: ast.AST, field: str, number: int | None, node: ast.AST) -> None:
    if number is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[number] = node


class Watching:
    """A pytest plugin: notes which tests call which functions of a file, and how long they take.

    Of a file that is a stage's, a claim is tried on this stage, on an early one, on `acks`, and on
    the last that has the file.
    """

    def __init__(self, tree: str, name: str) -> None:
        self.path = f"{tree}/stages/{name}.py"
        self.notes = f"{tree}/called.json"
        own = name.rpartition("/")[2]
        late = own in ("fast", "whole_lines")
        last = "disconnects" if own in FIVE else "fast" if late else "durable"
        last = "secure" if own in ("guard", "users") else last
        self.stages = {None, own, "basic" if own in FIVE else "replies", "acks", last}
        self.called: set[int] = set()
        self.starts_a_process = False
        self.tests: dict[int, list[Test]] = defaultdict(list)

    def pytest_configure(self) -> None:
        sys.addaudithook(self.hear)
        threading.settrace(self.trace)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if stage_of(item) in self.stages]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.called.clear()
        self.starts_a_process = False
        started = time.monotonic()
        sys.settrace(self.trace)
        result = yield
        sys.settrace(None)
        test = Test(item.nodeid, time.monotonic() - started)
        for line in EVERY if self.starts_a_process else self.called:
            self.tests[line].append(test)
        return result

    def trace(self, frame: FrameType, *_: object) -> None:
        if frame.f_code.co_filename == self.path:
            self.called.add(frame.f_code.co_firstlineno)

    def hear(self, event: str, _: object) -> None:
        self.starts_a_process |= event == "subprocess.Popen"

    def pytest_sessionfinish(self) -> None:
        Path(self.notes).write_text(json.dumps(self.tests), encoding="utf-8")


EVERY = range(1, 1000)
"""The lines of any file: nobody sees what is called in another process."""


def stage_of(item: pytest.Item) -> str | None:
    stage: str | None = getattr(getattr(item, "callspec", None), "params", {}).get("stage")
    return stage


class Chosen:
    """A pytest plugin: runs these tests, in their order. One that takes much longer than it did has
    hung, and ends the process."""

    def __init__(self, tests: list[Test]) -> None:
        self.turns = {test.name: turn for turn, test in enumerate(tests)}
        self.seconds = {test.name: test.seconds for test in tests}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self.turns]
        items[:] = sorted(chosen, key=lambda item: self.turns[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        patience = 5 + 3 * self.seconds[item.nodeid]
        faulthandler.dump_traceback_later(patience, exit=True, file=2)
        result = yield
        faulthandler.cancel_dump_traceback_later()
        return result


def run_tests(tree: str, files: set[str], plugin: Watching | Chosen) -> None:
    """Run the tests on the files in `tree`; ends the process, with 0 if all passed."""
    os.setsid()
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": tree, "PYTHONDONTWRITEBYTECODE": "1"}
    os.chdir(tree)
    sys.path[:0] = [tree, f"{tree}/tests"]
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    import peer

    peer.TIMEOUT = 3
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:nbval", "-p", "no:xdist"]
    os._exit(pytest.main([*files, *options], plugins=[plugin]))


def passed(tree: str, files: set[str], plugin: Watching | Chosen) -> bool:
    """Run the tests in a process of their own, and end what they have left running."""
    process = get_context("fork").Process(target=run_tests, args=(tree, files, plugin))
    process.start()
    process.join()
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    return process.exitcode == 0


def tests_of(name: str, tree: str) -> Called:
    """The tests that call a file's functions, the quickest first."""
    watching = Watching(tree, name)
    if not passed(tree, {f"tests/test_{each}.py" for each in JUDGES[name]}, watching):
        raise SystemExit(f"the tests of {name} fail as it is: expected that they pass")
    called = json.loads(Path(watching.notes).read_text(encoding="utf-8"))
    return {
        int(line): sorted((Test(*test) for test in tests), key=lambda test: test.seconds)
        for line, tests in called.items()
    }


def survives(mutant: Mutant, path: Path, called: Called) -> bool:
    """Whether no test catches it. `path` is the file that it changes, in a tree of its own."""
    tests = called.get(mutant.function, [])
    tree = str(path).partition("/stages/")[0]
    source = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        stale.unlink()
    try:
        files = {test.name.partition("::")[0] for test in tests}
        return not tests or passed(tree, files, Chosen(tests))
    finally:
        path.write_text(source, encoding="utf-8")


def survivors(name: str, trees: SimpleQueue[str], pool: ThreadPoolExecutor) -> Iterator[Mutant]:
    """Yield the mutants of a file that no test catches."""
    tree = trees.get()
    called = tests_of(name, tree)
    trees.put(tree)

    def try_out(mutant: Mutant) -> bool:
        tree = trees.get()
        try:
            return survives(mutant, Path(tree) / "stages" / f"{name}.py", called)
        finally:
            trees.put(tree)

    mutants = list(mutants_of((ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8")))
    results = pool.map(try_out, mutants)
    for mutant, survived in tqdm(
        zip(mutants, results, strict=True), name, len(mutants), leave=False
    ):
        if survived:
            yield mutant


def main() -> None:
    names = sys.argv[1:] or list(JUDGES)
    workers = os.cpu_count() or 1
    trees: SimpleQueue[str] = SimpleQueue()
    with TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        for number in range(workers):
            tree = f"{folder}/{number}"
            for part in ("stages", "tests"):
                shutil.copytree(ROOT / part, f"{tree}/{part}")
            shutil.copy(ROOT / "pyproject.toml", tree)
            trees.put(tree)
        for name in names:
            total = len(
                list(mutants_of((ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8")))
            )
            survived = list(survivors(name, trees, pool))
            print(f"{name}: {total - len(survived)} of {total} caught")
            for mutant in survived:
                print(f"  line {mutant.line}: {mutant.was}  ->  {mutant.now}")


if __name__ == "__main__":
    main()
