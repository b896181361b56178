"""How sharp are the tests? Change the stages by machine, one place at a time, and count the changes
that no test notices.

    $ python .ci/mutants.py                                  # everything: two hours
    $ python .ci/mutants.py caching beyond/server/outbox     # some files

A change is caught if a test fails, or hangs. Only tests that call the changed function are run, the
quickest first, and none of the slow ones. Not all that survive are faults of the tests: some change
nothing that a client could see.
"""

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
from typing import NamedTuple

import pytest
from mutate import Mutant, mutants_of
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
CACHES = shutil.ignore_patterns("__pycache__")  # of the files as they were

# Spelled out: a module that this program imports would not be imported anew, changed, by a mutant.
SHARED = [
    "basic", "delivery", "caching", "last_seen", "disconnects",
    "replies", "slow_consumers", "acks", "durable",
]  # fmt: skip
FIVE = SHARED[:5]
JUDGES = {
    **{stage: [*FIVE, "wire", "model", "hostile", "serve"] for stage in ("wire", *FIVE)},
    "connection": ["connection", *SHARED[:7], "hostile", "client"],
    "serve": ["serve", *FIVE, "command_line", "hostile", "judging", "secure"],
    "command_line": ["command_line", "serve"],
    "settings": ["serve", "command_line", "caching", "acks", "durable"],
    "beyond/broker/commands": [*SHARED[:8], "broker", "fast"],
    "beyond/broker/topic": [*SHARED, "broker", "simulation"],
    "beyond/broker/topics": ["broker", "simulation"],
    "beyond/broker/broker": [*SHARED, "broker", "broker_work", "simulation"],
    "beyond/broker/in_flight": ["acks", "broker", "broker_work", "durable", "simulation"],
    "beyond/broker/dispatch": ["acks", "broker", "broker_work", "durable", "simulation"],
    "beyond/replies": [*SHARED[:8], "broker", "hostile", "command_line"],
    "beyond/server/outbox": ["outbox", *SHARED[:8], "fast"],
    "beyond/server/connection": ["outbox", "flow_control", "secure", "door"],
    "beyond/server/whole_lines": ["fast", *SHARED[:8], "command_line"],
    "beyond/server/inbox": ["storing", "order", "simulation"],
    "beyond/server/sequencer": ["workers", "storing", "order", "acks"],
    "beyond/slow_consumers": ["slow_consumers", "flow_control", *SHARED[:8], "command_line"],
    "beyond/acks": ["acks", "workers", *SHARED, "broker", "broker_work", "simulation", "model"],
    "beyond/log/file": ["log", "durable", "storing", "simulation"],
    "beyond/log/journal": ["storing", "durable", "simulation"],
    "beyond/log/replica": ["cluster", "exercises", "simulated_cluster"],
    "beyond/log/shared": ["cluster", "simulated_cluster"],
    "beyond/log/order": ["order", "cluster", "simulated_cluster"],
    "beyond/durable": [*SHARED, "storing", "simulation", "command_line"],
    "beyond/fast": ["fast", *SHARED, "simulation", "command_line"],
    "beyond/cluster": ["cluster", "order", *SHARED, "simulated_cluster", "command_line"],
    "beyond/door/users": ["secure", "door", "exercises"],
    "beyond/door/guard": ["secure", *SHARED[:8], "command_line"],
    "beyond/secure": ["door", "secure", *SHARED, "command_line"],
}
"""The tests that judge a file, by its name in `stages`."""


class Test(NamedTuple):
    name: str
    seconds: float


Called = dict[int, list[Test]]
"""The tests that call a function, by the line on which it begins."""


class Watching:
    """A pytest plugin: notes which tests call which functions of a file, and how long they take.

    Of a file that is a stage's, a claim is tried on this stage, on an early one, on `acks`, and on
    the last that has the file.
    """

    def __init__(self, tree: Path, name: str) -> None:
        self.path = str(tree / "stages" / f"{name}.py")
        self.notes = tree / "called.json"
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
        self.notes.write_text(json.dumps(self.tests), encoding="utf-8")


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


def run_tests(tree: Path, files: set[str], plugin: Watching | Chosen) -> None:
    """Run the tests on the files in `tree`; ends the process, with 0 if all passed."""
    os.setsid()
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    os.chdir(tree)
    rooms = [tree / "tests" / room for room in ("claims", "lab", "helpers")]
    sys.path[:0] = map(str, [tree, *rooms])
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    import peer

    peer.TIMEOUT = 3
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:nbval", "-p", "no:xdist"]
    os._exit(pytest.main([*files, *options], plugins=[plugin]))


def passed(tree: Path, files: set[str], plugin: Watching | Chosen) -> bool:
    """Run the tests in a process of their own, and end what they have left running."""
    process = get_context("fork").Process(target=run_tests, args=(tree, files, plugin))
    process.start()
    process.join()
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    return process.exitcode == 0


def path_of(test: str) -> str:
    (path,) = (ROOT / "tests").glob(f"*/test_{test}.py")
    return str(path.relative_to(ROOT))


def tests_of(name: str, tree: Path) -> Called:
    """The tests that call a file's functions, the quickest first."""
    watching = Watching(tree, name)
    if not passed(tree, set(map(path_of, JUDGES[name])), watching):
        raise SystemExit(f"the tests of {name} fail as it is: expected that they pass")
    called = json.loads(watching.notes.read_text(encoding="utf-8"))
    return {
        int(line): sorted((Test(*test) for test in tests), key=lambda test: test.seconds)
        for line, tests in called.items()
    }


def survives(mutant: Mutant, tree: Path, path: Path, called: Called) -> bool:
    """Whether no test catches it. In `tree`, the file at `path` is changed meanwhile."""
    tests = called.get(mutant.function, [])
    source = (tree / path).read_text(encoding="utf-8")
    (tree / path).write_text(mutant.source, encoding="utf-8")
    try:
        files = {test.name.partition("::")[0] for test in tests}
        return not tests or passed(tree, files, Chosen(tests))
    finally:
        (tree / path).write_text(source, encoding="utf-8")


def main() -> None:
    names = sys.argv[1:] or list(JUDGES)
    workers = os.cpu_count() or 1
    trees: SimpleQueue[Path] = SimpleQueue()
    with TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        for number in range(workers):
            tree = Path(folder) / str(number)
            for part in ("stages", "tests"):
                shutil.copytree(ROOT / part, tree / part, ignore=CACHES)
            shutil.copy(ROOT / "pyproject.toml", tree)
            trees.put(tree)
        for name in names:
            report(name, tree, trees, pool)


def report(name: str, tree: Path, trees: SimpleQueue[Path], pool: ThreadPoolExecutor) -> None:
    """Print how many mutants of a file the tests catch, and those that they don't. They are tried
    in the `trees`; all have the same files."""
    path = Path("stages") / f"{name}.py"
    mutants = list(mutants_of((tree / path).read_text(encoding="utf-8")))
    called = tests_of(name, tree)

    def try_out(mutant: Mutant) -> bool:
        tree = trees.get()
        try:
            return survives(mutant, tree, path, called)
        finally:
            trees.put(tree)

    results = list(tqdm(pool.map(try_out, mutants), name, len(mutants), leave=False))
    print(f"{name}: {results.count(False)} of {len(mutants)} caught")
    for mutant, survived in zip(mutants, results, strict=True):
        if survived:
            print(f"  line {mutant.line}: {mutant.was}  ->  {mutant.now}")


if __name__ == "__main__":
    main()
