"""The matrix of stages and claims: what a stage introduces holds from that stage on, and not
before.

A test in `test_<stage>.py` that uses `connect`, `address` or `restart` runs on every stage. On the
earlier ones it is a strict expected failure: if it passed there, the stage would not add what the
test claims.
"""

from collections import defaultdict
from functools import partial
from typing import Any

import pytest
from target import address_of

from stages import STAGES

MODULES = {name.rpartition(".")[2]: f"stages.{name}" for name in STAGES}
NAMES = list(MODULES)
KEEP_PROMISES = {"fast", "cluster", "secure"}
"""Stages that add no claim that a client could check: they keep those before in another way. To
try them all takes as long as the rest, so it is slow."""

JSON_SINCE = NAMES.index("replies")
TARGET = "yours"

outcomes: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))


def speaks_json(stage: str) -> bool:
    return NAMES.index(stage) >= JSON_SINCE


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "until(stage): holds up to this stage, and not after")
    config.addinivalue_line("markers", "by_address: of a class, `serve` sees to it")


def introduced_in(module: Any) -> str | None:
    """The stage whose tests a module holds."""
    name = getattr(module, "__name__", "").removeprefix("test_")
    return name if name in NAMES else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "stage" not in metafunc.fixturenames or "stage" in chosen:
        return
    own, last = (
        introduced_in(metafunc.module),
        next(metafunc.definition.iter_markers("until"), None),
    )
    since, until = NAMES.index(own or NAMES[0]), NAMES.index(last.args[0] if last else NAMES[-1])
    if wanted := metafunc.config.getoption("--target"):
        by_address = any(metafunc.definition.iter_markers("by_address"))
        replaced = until < NAMES.index(metafunc.config.getoption("--until"))
        skipped = replaced or (by_address and not address_of(wanted))
        return metafunc.parametrize(
            "stage", [pytest.param(TARGET, marks=pytest.mark.skip)] if skipped else [TARGET]
        )
    absent = pytest.mark.xfail(
        raises=AssertionError,
        strict=True,
        reason=f"holds from {own} on{', not later' * bool(last)}",
    )
    marks = [
        [absent] * (not since <= n <= until) + [pytest.mark.slow] * (name in KEEP_PROMISES)
        for n, name in enumerate(NAMES)
    ]
    metafunc.parametrize(
        "stage", [pytest.param(n, marks=m) for n, m in zip(NAMES, marks, strict=True)]
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of the stages, then all the rest."""
    for item in items:
        if item.get_closest_marker("xfail"):
            item.repr_failure = partial(summary_if_expected, item.repr_failure)  # type: ignore[method-assign]
    items.sort(key=lambda item: [*NAMES, None].index(introduced_in(getattr(item, "module", None))))


def summary_if_expected(in_full: Any, failure: pytest.ExceptionInfo[BaseException]) -> Any:
    """How a failure is told: in a line if it is as it should be, since nobody reads the rest, and to
    find it takes longer than many a test."""
    return failure.exconly() if failure.errisinstance(AssertionError) else in_full(failure)


def claim_of(test: str) -> str:
    return test.partition("[")[0].removeprefix("test_").replace("_", " ")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember how each claim fared on each stage, for the table at the end."""
    module, _, test = report.nodeid.rpartition("::")
    parameters = test.partition("[")[2].rstrip("]").split("-")
    stage = next((name for name in [*NAMES, TARGET] if name in parameters), None)
    if stage and (report.when == "call" or report.failed):
        outcomes[module, claim_of(test)][stage].add(
            "xfailed" if hasattr(report, "wasxfail") else report.outcome
        )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table of stages and features."""
    columns = [TARGET] if config.getoption("--target") else NAMES
    sign = {frozenset({"passed"}): "✓", frozenset({"xfailed"}): "·", frozenset(): " "}
    terminalreporter.section("stages and features (✓ holds  · not yet, as it should be  ✗ broken)")
    terminalreporter.write_line(" ".join(name[:11].rjust(11) for name in columns))
    by_stage = sorted(
        outcomes.items(),
        key=lambda row: [row[0][0].endswith(f"{name}.py") for name in reversed(NAMES)],
    )
    for (_, claim), stages in by_stage:
        signs = "".join(sign.get(frozenset(stages[name]), "✗").rjust(12) for name in columns)
        terminalreporter.write_line(f"{signs[1:]}  {claim}")
