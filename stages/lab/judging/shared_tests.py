"""Judge a server by the project's shared tests: the very tests that `pytest` runs, found in its
checkout."""

import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest
from tqdm import tqdm

from stages import STAGES, serve
from stages.lab.judging.claims import Claim

TESTS = Path(__file__).parents[3] / "tests"
NAMES = [module.rpartition(".")[2] for module in STAGES]

PATIENCE = 2
"""Seconds after which a progress bar is shown."""


class CannotJudge(Exception):
    """There is nothing to judge, or the tests cannot be run; the text says why."""


class Judge:
    """A pytest plugin that hands a server to the tests, and collects what they find."""

    given_up = ""  # why the rest is not judged

    def __init__(self, server: type[serve.Handler] | str) -> None:
        self.server = server
        self.claims: list[Claim] = []
        # A class is judged in a notebook, where all that goes to stderr is red.
        self.screen = sys.stderr if isinstance(server, str) else sys.stdout

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.option.target = self.server

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        count = len(session.items)
        self.progress = tqdm(
            total=count, unit="claim", file=self.screen, delay=PATIENCE, leave=False
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        claim: Claim | None = getattr(report, "claim", None)
        if claim:
            self.claims.append(claim)
        if report.when == "teardown":
            self.progress.update()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.progress.close()
        self.given_up = str(session.shouldstop or "")


def run_tests(server: type[serve.Handler] | str, until: str) -> list[Claim]:
    """Run the shared tests of all stages up to `until` on a class; or on a file with a class
    `Server`, a `package.module:Class` or an address, as text. Raises `CannotJudge`."""
    if not (TESTS / "conftest.py").exists():
        raise CannotJudge(
            f"the tests are not at {TESTS}: "
            "expected the project's checkout, installed with `pip install -e`"
        )
    judge = Judge(server)
    plugins = ["no:terminal", "no:cacheprovider", "no:nbval", "no:hypothesispytest", "no:xdist"]
    options = [option for plugin in plugins for option in ("-p", plugin)]
    with redirect_stderr(StringIO()) as told:
        result = pytest.main(
            [str(TESTS), *options, "-s", "-W", "ignore", "-o", "addopts=", "--until", until],
            plugins=[judge],
        )
    if result == pytest.ExitCode.INTERRUPTED and not judge.given_up:
        raise KeyboardInterrupt
    if result == pytest.ExitCode.USAGE_ERROR:
        raise CannotJudge(told.getvalue().strip().removeprefix("ERROR: --target: "))
    if judge.given_up:
        judge.claims.append(Claim("every claim is judged", "a server that answers", judge.given_up))
    if not judge.claims:
        raise CannotJudge("the tests did not run")
    return judge.claims
