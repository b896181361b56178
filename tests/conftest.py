"""The shared tests: what a stage introduces holds from that stage on, and not before.

A test in `test_<stage>.py` that uses `connect` runs on every stage. On the earlier ones it is a strict expected
failure: if it passed there, the stage would not add what the test claims. With `--target`, the same tests judge
somebody's own server instead.
"""

import asyncio
import importlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import peer
import pytest
import target
from peer import NoAnswer, Peer

from stages import STAGES, serve
from stages.arguments import trial_settings
from stages.lab.diagram import Diagram
from stages.lab.record import Step, shortened

MODULES = {name.rpartition(".")[2]: f"stages.{name}" for name in STAGES}
NAMES = list(MODULES)
JSON_SINCE = NAMES.index("replies")
TARGET = "yours"
Connect = Callable[[], Awaitable[Peer]]

unanswered: list[pytest.Item] = []
outcomes: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("your own server")
    group.addoption("--target", help="judge this server: my_server.py, package.module:Class or localhost:7777")
    group.addoption("--until", choices=NAMES, default="disconnects", help="the last stage whose tests it is to pass")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "until(stage): holds up to this stage, and not after")
    if config.getoption("--target"):
        peer.PATIENCE = 3
        unanswered.clear()
        try:
            with TemporaryDirectory() as folder, target.serving(config.getoption("--target"), folder):
                pass
        except target.Unusable as problem:
            raise pytest.UsageError(f"--target: {problem}") from None


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.getoption("--target"):  # `check` runs these tests within another run
        peer.PATIENCE = 10


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """A target is judged in one process: it may be only one server, and is given up when it does not answer."""
    return 0 if config.getoption("--target") else None


def introduced_in(module: Any) -> str | None:
    """The stage whose tests a module holds."""
    name = getattr(module, "__name__", "").removeprefix("test_")
    return name if name in NAMES else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "stage" not in metafunc.fixturenames or "stage" in chosen:
        return
    own, last = introduced_in(metafunc.module), next(metafunc.definition.iter_markers("until"), None)
    since, until = NAMES.index(own or NAMES[0]), NAMES.index(last.args[0] if last else NAMES[-1])
    if metafunc.config.getoption("--target"):
        replaced = until < NAMES.index(metafunc.config.getoption("--until"))
        return metafunc.parametrize("stage", [pytest.param(TARGET, marks=pytest.mark.skip)] if replaced else [TARGET])
    absent = pytest.mark.xfail(
        raises=AssertionError, strict=True, reason=f"holds from {own} on{', not later' * bool(last)}"
    )
    marks = [[] if since <= n <= until else [absent] for n in range(len(NAMES))]
    metafunc.parametrize("stage", [pytest.param(n, marks=m) for n, m in zip(NAMES, marks, strict=True)])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With a target: only the tests of the stages, up to the last one wanted."""
    if config.getoption("--target") and collection_path.is_file():
        wanted = NAMES[: NAMES.index(config.getoption("--until")) + 1]
        return collection_path.stem.removeprefix("test_") not in wanted
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the order of the stages, then all the rest; with a target, only what can be asked of it."""
    if config.getoption("--target"):
        items[:] = [item for item in items if "stage" in getattr(item, "fixturenames", ())]
    items.sort(key=lambda item: [*NAMES, None].index(introduced_in(getattr(item, "module", None))))


@pytest.fixture
def transcript() -> list[Step]:
    """What has gone over the wire in this test."""
    return []


def new_server(stage: str, folder: Path) -> serve.Handler:
    server = importlib.import_module(MODULES[stage]).Server
    settings = trial_settings(server, str(folder))
    settings.pop("seed", None)  # the lots are to be drawn anew each time
    made: serve.Handler = server(**settings)
    return made


@pytest.fixture
async def restart(
    stage: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[[], Awaitable[Peer]]]:
    """Stops the server under test, if it runs, and starts another one in its place; gives a client of that one."""
    wanted = request.config.getoption("--target")
    if stage == TARGET and target.address_of(wanted):
        pytest.skip("a server that is running already cannot be restarted from here")
    async with AsyncExitStack() as running:

        async def restart() -> Peer:
            await running.aclose()
            if stage == TARGET:
                address = running.enter_context(target.serving(wanted, str(tmp_path)))
            else:
                server = new_server(stage, tmp_path)
                address = "127.0.0.1", await running.enter_async_context(serve.listening(server, "127.0.0.1", 0))
            peer = await Peer.connect(*address, speaks_json=stage == TARGET or NAMES.index(stage) >= JSON_SINCE)
            running.callback(peer.close)
            return peer

        yield restart


@pytest.fixture
async def address(stage: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[target.Address]:
    """Where the server under test listens. A stage that has stopped must have left nothing behind."""
    if stage == TARGET:
        with target.serving(request.config.getoption("--target"), str(tmp_path)) as address:
            yield address
        return
    trouble: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: trouble.append(context))
    async with serve.listening(new_server(stage, tmp_path), "127.0.0.1", 0) as port:
        yield "127.0.0.1", port
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert trouble == []


@pytest.fixture
async def connect(
    address: target.Address, stage: str, transcript: list[Step], request: pytest.FixtureRequest
) -> AsyncIterator[Connect]:
    """Opens a connection to the server under test, as often as it is called."""
    speaks_json = NAMES.index(request.config.getoption("--until") if stage == TARGET else stage) >= JSON_SINCE
    async with AsyncExitStack() as peers:

        async def connect() -> Peer:
            name = f"client {sum(step.kind == 'connect' for step in transcript) + 1}"
            peer = await Peer.connect(*address, name, transcript, speaks_json=speaks_json)
            peers.callback(peer.close)
            return peer

        yield connect


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    if config.getoption("--target"):
        relation = "" if op == "==" else f"{op} "
        return ["", shortened(f"expected  {relation}{right!r}", 400), shortened(f"received  {left!r}", 400)]
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """With a target: a failure is told to the person who wrote the server, not to the one who wrote the test."""
    report = yield
    if item.config.getoption("--target") and call.excinfo and report.failed:
        report.longrepr = explained(item, call.excinfo.value)
        unanswered.extend([item] if call.excinfo.errisinstance(NoAnswer) else [])
        if len(unanswered) == 3 or (unanswered and target.address_of(item.config.getoption("--target"))):
            item.session.shouldstop = "the server does not answer: it is not asked any further"
    return report


def claim_of(test: str) -> str:
    return test.partition("[")[0].removeprefix("test_").replace("_", " ")


def explained(item: pytest.Item, problem: BaseException) -> str:
    """What is claimed, what went over the wire, what was expected and what came, and a hint."""
    told = [line.strip("E ") for line in str(problem).splitlines()]
    found = [line for line in told if line.startswith(("expected", "received"))] or [f"stopped by {problem!r}"]
    funcargs = getattr(item, "funcargs", {})
    wire = str(Diagram(funcargs.get("transcript", []))).splitlines()[-20:]
    hint = getattr(getattr(item, "obj", None), "__doc__", None)
    return "\n".join(
        [f"claim     {claim_of(item.name)}", *[f"the wire  {line}" for line in wire], *found, f"hint      {hint}"]
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember how each claim fared on each stage, for the table at the end."""
    module, _, test = report.nodeid.rpartition("::")
    parameters = test.partition("[")[2].rstrip("]").split("-")
    stage = next((name for name in [*NAMES, TARGET] if name in parameters), None)
    if stage and (report.when == "call" or report.failed):
        outcomes[module, claim_of(test)][stage].add("xfailed" if hasattr(report, "wasxfail") else report.outcome)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of stages and features."""
    columns = [TARGET] if config.getoption("--target") else NAMES
    sign = {frozenset({"passed"}): "✓", frozenset({"xfailed"}): "·", frozenset(): " "}
    terminalreporter.section("stages and features (✓ holds  · not yet, as it should be  ✗ broken)")
    terminalreporter.write_line(" ".join(name[:11].rjust(11) for name in columns))
    by_stage = sorted(outcomes.items(), key=lambda row: [row[0][0].endswith(f"{name}.py") for name in reversed(NAMES)])
    for (_, claim), stages in by_stage:
        signs = "".join(sign.get(frozenset(stages[name]), "✗").rjust(12) for name in columns)
        terminalreporter.write_line(f"{signs[1:]}  {claim}")
