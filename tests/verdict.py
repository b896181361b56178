"""`--target`: the shared tests judge somebody's own server, and tell its author what is wrong.

pytest tests --target my_server.py --until caching
"""

from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import peer
import pytest
import target
from matrix import NAMES, claim_of
from peer import NoAnswer

from stages.lab.pictures.diagram import Diagram
from stages.lab.workbench.record import shortened

unanswered: list[pytest.Item] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("your own server")
    group.addoption(
        "--target", help="judge this server: my_server.py, package.module:Class or localhost:7777"
    )
    group.addoption(
        "--until",
        choices=NAMES,
        default="disconnects",
        help="the last stage whose tests it is to pass",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--target"):
        peer.TIMEOUT = 3
        unanswered.clear()
        try:
            with (
                TemporaryDirectory() as folder,
                target.serving(config.getoption("--target"), folder),
            ):
                pass
        except target.Unusable as problem:
            raise pytest.UsageError(f"--target: {problem}") from None


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.getoption("--target"):  # `check` runs these tests within another run
        peer.TIMEOUT = 10


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """A target is judged in one process: it may be only one server, and is given up when it does
    not answer."""
    return 0 if config.getoption("--target") else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With a target: only the tests of the stages, up to the last one wanted."""
    if config.getoption("--target") and collection_path.is_file():
        wanted = NAMES[: NAMES.index(config.getoption("--until")) + 1]
        return collection_path.stem.removeprefix("test_") not in wanted
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only what can be asked of a target."""
    if config.getoption("--target"):
        items[:] = [item for item in items if "stage" in getattr(item, "fixturenames", ())]


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    if config.getoption("--target"):
        relation = "" if op == "==" else f"{op} "
        return [
            "",
            shortened(f"expected  {relation}{right!r}", 400),
            shortened(f"received  {left!r}", 400),
        ]
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """With a target: a failure is told to the person who wrote the server, not to the one who wrote
    the test."""
    report = yield
    if item.config.getoption("--target") and call.excinfo and report.failed:
        report.longrepr = explained(item, call.excinfo.value)
        unanswered.extend([item] if call.excinfo.errisinstance(NoAnswer) else [])
        if len(unanswered) == 3 or (
            unanswered and target.address_of(item.config.getoption("--target"))
        ):
            item.session.shouldstop = "the server does not answer: it is not asked any further"
    return report


def explained(item: pytest.Item, problem: BaseException) -> str:
    """What is claimed, what went over the wire, what was expected and what came, and a hint."""
    lines = [line.strip("E ") for line in str(problem).splitlines()]
    found = [line for line in lines if line.startswith(("expected", "received"))] or [
        f"stopped by {problem!r}"
    ]
    funcargs = getattr(item, "funcargs", {})
    wire = str(Diagram(funcargs.get("transcript", []))).splitlines()[-20:]
    hint = getattr(getattr(item, "obj", None), "__doc__", None)
    return "\n".join(
        [
            f"claim     {claim_of(item.name)}",
            *[f"the wire  {line}" for line in wire],
            *found,
            f"hint      {hint}",
        ]
    )
