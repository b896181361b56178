"""`--target`: the shared tests judge somebody's own server, and tell its author what is wrong.

pytest tests/claims --target my_server.py --until caching
"""

import re
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import peer
import pytest
import target
from matrix import NAMES, claim_of, introduced_in
from peer import FRESH_TOPIC, NoAnswer

from stages.lab.judging.claims import Claim, around_difference
from stages.lab.pictures.diagram import Diagram

unanswered: list[pytest.Item] = []
held: list[pytest.Item] = []


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
        if config.option.markexpr == "not slow":  # of a target, all is asked
            config.option.markexpr = ""
        peer.TIMEOUT = 3
        unanswered.clear()
        held.clear()
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
        peer.TIMEOUT = peer.GENEROUS


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """A target is judged in one process: it may be only one server, and is given up when it does
    not answer."""
    return 0 if config.getoption("--target") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only what can be asked of a target: the claims, up to the last stage wanted."""
    wanted, until = config.getoption("--target"), config.getoption("--until")
    if wanted:
        asked = NAMES[: NAMES.index(until) + 1]
        items[:] = [item for item in items if introduced_in(getattr(item, "module", None)) in asked]
    if isinstance(wanted, type):  # of a learner's class: first what it is about
        items.sort(key=lambda item: introduced_in(item.module) != until)  # type: ignore[attr-defined]


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    if config.getoption("--target"):
        if op == "in":
            return ["", f"expected  a text with {left!r}", f"received  {right!r}"]
        relation = "" if op == "==" else f"{op} "
        # Cut by us, or pytest would: not where they differ.
        expected, received = around_difference(repr(right), repr(left), 250)
        return ["", f"expected  {relation}{expected}", f"received  {received}"]
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """With a target: a failure is told to the person who wrote the server, not to the one who wrote
    the test."""
    report = yield
    wanted = item.config.getoption("--target")
    if wanted and (call.when == "call" or report.failed):
        report.claim = claim_from(item, call.excinfo.value if call.excinfo else None)
        held.extend([] if report.failed else [item])
    if wanted and call.excinfo and report.failed:
        report.longrepr = report.claim.explained()
        unanswered.extend([item] if call.excinfo.errisinstance(NoAnswer) else [])
        if call.excinfo.errisinstance(target.Unusable):
            item.session.shouldstop = f"the server is gone: {call.excinfo.value}"
        elif len(unanswered) == 3 or (unanswered and (not held or target.address_of(wanted))):
            item.session.shouldstop = "the server does not answer: it is not asked any further"
    return report


def claim_from(item: pytest.Item, problem: BaseException | None) -> Claim:
    """What a test has claimed, and with a problem: what was expected, what came, and all that may
    help."""
    name, docstring = claim_of(item.name), getattr(getattr(item, "obj", None), "__doc__", None)
    about = Claim(
        name,
        stage=introduced_in(getattr(item, "module", None)) or "",
        hardening=item.get_closest_marker("hardening") is not None,
        hint=" ".join((docstring or "").split()),
    )
    if problem is None:
        return about
    funcargs = getattr(item, "funcargs", {})
    faults = Path(funcargs.get("tmp_path", "")) / target.FAULTS
    told = [*expected_and_received(problem), str(Diagram(funcargs.get("transcript", [])))]
    expected, received, *wire = named_topics("\n".join(told)).rstrip().split("\n")
    return replace(
        about,
        failed=True,
        expected=expected,
        got=received,
        fault=faults.read_text(encoding="utf-8").splitlines()[0] if faults.exists() else "",
        wire=tuple(wire),
    )


def expected_and_received(problem: BaseException) -> tuple[str, str]:
    """What a failed test tells: "expected …" and "received …" on two lines, or "expected …, got …"
    on one."""
    text = "\n".join(line.strip("E ") for line in str(problem).splitlines())
    found = re.search(r"^expected\s+(.*?)(?:\nreceived\s+|, got |, but )(.*)", text, re.MULTILINE)
    if found:
        return found[1], found[2]
    return "that it holds", f"{type(problem).__name__}: {text.partition(chr(10))[0]}"


def named_topics(text: str) -> str:
    """The text with names for topics that are easy to read, and the same each time."""
    names = dict.fromkeys(re.findall(FRESH_TOPIC, text))
    for number, name in enumerate(names, 1):
        text = text.replace(name, f"topic-{number}")
    return text
