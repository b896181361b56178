"""Check a class of your own: by an exercise of the notebooks, by the shared tests, or both."""

import asyncio
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from stages import STAGES, serve
from stages.beyond import acks, broker, durable, fast, replies, slow_consumers
from stages.lab.judging.exercises import EXERCISES, Claim
from stages.lab.judging.exercises_beyond import BEYOND
from stages.lab.workbench.background import launch
from stages.lab.workbench.reading import Text
from stages.lab.workbench.record import shortened
from stages.settings import trial_settings

SCENARIOS = EXERCISES | BEYOND
TESTS = Path(__file__).parents[3] / "tests"


async def check(
    server: type[Any], exercise: str | None = None, *, until: str | None = None
) -> Text:
    """Try a server, or a broker: a line for each claim, ✓ if it holds, else what was expected and
    what was got.

    `exercise` names one of the notebooks' exercises. `until` names the last stage whose shared
    tests it is to pass: the very tests that `pytest` runs, found in the project's checkout. Raises
    ValueError for unknown names.
    """
    if exercise is not None and exercise not in SCENARIOS:
        raise ValueError(
            f"there is no exercise {exercise!r}: expected one of {', '.join(SCENARIOS)}"
        )
    names = [module.rpartition(".")[2] for module in STAGES]
    if until is not None and until not in names:
        raise ValueError(f"there is no stage {until!r}: expected one of {', '.join(names)}")
    server = with_broker(server, exercise)
    claims = await try_exercise(server, exercise) if exercise else []
    tested = await asyncio.to_thread(run_tests, server, until) if until else []
    if exercise and until:
        failed = [claim.text for claim in tested if claim.expected != claim.got]
        tested = [Claim(f"all tests up to {until} still pass", [], failed)]
    return verdict(claims + tested)


def with_broker(mine: type[Any], exercise: str | None) -> type[serve.Handler]:
    """The class itself, if it is a server; a server around it, if it is a broker."""
    if not issubclass(mine, broker.Broker):
        return mine
    stages = {
        "purge": durable.Server,
        "once": durable.Server,
        "at_most_three": slow_consumers.Server,
    }
    brokers = {fast.Broker: fast.Server, acks.Broker: acks.Server, broker.Broker: replies.Server}
    stage = next(server for kind, server in brokers.items() if issubclass(mine, kind))
    server: Any = type("Server", (stages.get(exercise or "", stage),), {"broker_class": mine})
    return server  # type: ignore[no-any-return]


async def try_exercise(server: Any, exercise: str) -> list[Claim]:
    with TemporaryDirectory() as folder, launch(server(**trial_settings(server, folder))) as lab:
        try:
            return [claim async for claim in SCENARIOS[exercise](lab)]
        except Exception as problem:
            return [Claim("it runs", "no exception", repr(problem))]


class Judge:
    """A pytest plugin that hands the class to the tests, and collects what they find."""

    def __init__(self, server: type[serve.Handler]) -> None:
        self.server = server
        self.claims: list[Claim] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.option.target = self.server

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            text = report.nodeid.rpartition("test_")[2].partition("[")[0].replace("_", " ")
            self.claims.append(
                Claim(
                    text, *expected_and_got(str(report.longrepr)) if report.failed else (None, None)
                )
            )


def expected_and_got(report: str) -> tuple[str, str]:
    """What the tests tell of a failure: "expected …" and "received …" on two lines, or "expected …,
    got …" on one."""
    found = re.search(r"^expected\s+(.*?)(?:\nreceived\s+|, got |, but )(.*)", report, re.MULTILINE)
    expected, got = found.groups() if found else ("that it holds", report.splitlines()[-2].strip())
    return shortened(expected, 100), shortened(got, 100)


def run_tests(server: type[serve.Handler], until: str) -> list[Claim]:
    """Run the shared tests on a class. Raises RuntimeError where they cannot be run."""
    if not (TESTS / "conftest.py").exists():
        raise RuntimeError(
            f"the tests are not at {TESTS}: expected the project's checkout, installed with `pip install -e`"
        )
    try:
        server()
    except Exception as problem:
        return [Claim("it can be created without arguments", "a server", repr(problem))]
    judge = Judge(server)
    plugins = ["no:terminal", "no:cacheprovider", "no:nbval", "no:hypothesispytest", "no:xdist"]
    options = [option for plugin in plugins for option in ("-p", plugin)]
    pytest.main(
        [str(TESTS), *options, "-s", "-W", "ignore", "-o", "addopts=", "--until", until],
        plugins=[judge],
    )
    if not judge.claims:
        raise RuntimeError("the tests did not run")
    return judge.claims


def without_backticks(value: Any) -> str:
    """A value as it may stand between backticks."""
    return str(value).replace("`", "'")


def verdict(claims: list[Claim]) -> Text:
    """A line for each claim, and whether all is as it should be."""
    lines = []
    for text, expected, got in claims:
        difference = f"expected `{without_backticks(expected)}`, got `{without_backticks(got)}`"
        lines.append(f"✓ {text}" if expected == got else f"✗ {text}: {difference}")
    end = "solved" if all(line.startswith("✓") for line in lines) else "not yet"
    plain = "\n".join([*lines, end])
    return Text(
        "\n".join([*[f"- {line}" for line in lines], "", f"**{end}**"]), plain.replace("`", "")
    )
