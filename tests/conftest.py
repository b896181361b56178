"""The shared tests: what a stage introduces holds from that stage on, and not before.

A test in `test_<stage>.py` that uses `connect` runs on every stage. On the earlier ones it is a strict expected
failure: if it passed there, the stage would not add what the test claims.
"""

import asyncio
import importlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from peer import Peer

from stages import STAGES, serve

NAMES = list(STAGES)
Connect = Callable[[], Awaitable[Peer]]

outcomes: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "stage" in metafunc.fixturenames and "stage" not in chosen:
        own = metafunc.module.__name__.removeprefix("test_")
        since = NAMES.index(own) if own in NAMES else 0
        earlier = pytest.mark.xfail(raises=AssertionError, strict=True, reason=f"{own} introduces it")
        marks = [[earlier] if n < since else [] for n in range(len(NAMES))]
        metafunc.parametrize("stage", [pytest.param(n, marks=m) for n, m in zip(NAMES, marks, strict=True)])


@pytest.fixture
async def port(stage: str) -> AsyncIterator[int]:
    """The port of a stage that is running; when it has stopped, it must have left nothing behind."""
    trouble: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: trouble.append(context))
    server = importlib.import_module(f"stages.{stage}").Server()
    async with serve.listening(server, "127.0.0.1", 0) as port:
        yield port
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert trouble == []


@pytest.fixture
async def connect(port: int) -> AsyncIterator[Connect]:
    """Opens a connection to the server under test, as often as it is called."""
    peers: list[Peer] = []

    async def connect() -> Peer:
        peers.append(await Peer.connect("127.0.0.1", port))
        return peers[-1]

    yield connect
    for peer in peers:
        peer.close()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember how each claim fared on each stage, for the table at the end."""
    module, _, test = report.nodeid.rpartition("::")
    claim, _, parameters = test.partition("[")
    stage = next((name for name in NAMES if name in parameters.rstrip("]").split("-")), None)
    if stage and (report.when == "call" or report.failed):
        outcomes[module, claim][stage].add("xfailed" if hasattr(report, "wasxfail") else report.outcome)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of stages and features."""
    sign = {frozenset({"passed"}): "✓", frozenset({"xfailed"}): "·", frozenset(): " "}
    terminalreporter.section("stages and features (✓ holds  · not yet, as it should be  ✗ broken)")
    terminalreporter.write_line(" ".join(name.rjust(11) for name in NAMES))
    by_stage = sorted(outcomes.items(), key=lambda row: [row[0][0].endswith(f"{name}.py") for name in reversed(NAMES)])
    for (_, claim), stages in by_stage:
        columns = "".join(sign.get(frozenset(stages[name]), "✗").rjust(12) for name in NAMES)
        terminalreporter.write_line(f"{columns[1:]}  {claim.removeprefix('test_').replace('_', ' ')}")
