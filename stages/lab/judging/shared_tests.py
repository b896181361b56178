"""Judge a server by the project's shared tests: the very claims that `pytest` runs."""

import signal
import sys
import threading
from asyncio import AbstractEventLoop, new_event_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path

import pytest

import stages
from stages import STAGES, serve
from stages.lab.judging.claims import Claim
from stages.lab.simulated.loop import Loop, no_loop
from stages.lab.workbench.progress import progress

HOME = Path(stages.__file__).parent
TESTS = next(
    filter(Path.is_dir, (HOME / "claims", HOME.parent / "tests" / "claims")), HOME / "claims"
)
"""Where the claims lie: in a wheel inside the package, in a checkout beside it."""

NAMES = [module.rpartition(".")[2] for module in STAGES]


class CannotJudge(Exception):
    """There is nothing to judge, or the tests cannot be run; the text says why."""


class Judge:
    """A pytest plugin that hands a server to the tests, and collects what they find."""

    given_up = ""  # why the rest is not judged
    problem = ""  # of pytest itself
    interrupted = False
    session: pytest.Session | None = None

    def __init__(self, server: type[serve.Handler] | str | Path, in_memory: bool) -> None:
        self.server = str(server) if isinstance(server, Path) else server
        self.in_memory = in_memory
        self.claims: list[Claim] = []
        # A class is judged in a notebook, where all that goes to stderr is red.
        self.screen = sys.stderr if isinstance(server, str) else sys.stdout

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.option.target = self.server
        # To show where a test failed, pytest would parse its source. Python 3.11's parser counts
        # its depth for all threads together, and raises SystemError if a server parses meanwhile.
        config.option.tbstyle = "no"

    def pytest_asyncio_loop_factories(self) -> dict[str, Callable[[], AbstractEventLoop]]:
        return {"memory": Loop} if self.in_memory else {"system": new_event_loop}

    @contextmanager
    def ending_at_ctrl_c(self) -> Iterator[None]:
        """Meanwhile, Ctrl-C ends the judging after the claim that is being judged: in the middle of
        one, pytest would print a traceback of its own."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(_number: int, _frame: object) -> None:
            self.interrupted = True
            if self.session:
                self.session.shouldstop = "interrupted"

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.session = session
        if self.interrupted:  # while the tests were being collected
            session.shouldstop = "interrupted"
        count = len(session.items)
        self.progress = progress(None, "claim", total=count, file=self.screen)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        claim: Claim | None = getattr(report, "claim", None)
        if claim:
            self.claims.append(claim)
        if report.when == "teardown":
            self.progress.update()

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.problem = excinfo.exconly().splitlines()[0]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.progress.close()
        self.given_up = str(session.shouldstop or "")


def run_tests(
    server: type[serve.Handler] | str | Path,
    until: str,
    *,
    in_memory: bool = sys.platform == "emscripten",
) -> list[Claim]:
    """Run the shared tests of all stages up to `until` on a class; or on a file with a class
    `Server`, a `package.module:Class` or an address, as text. Raises `CannotJudge`.

    They go over TCP, where a class may use threads and the time of day; in a browser, over a network
    in memory.
    """
    if not TESTS.is_dir():
        raise CannotJudge(f"there are no claims: expected them in {TESTS}")
    if not server:
        raise CannotJudge("there is nothing to judge: expected a file, a class or an address")
    judge = Judge(server, in_memory)
    plugins = ["no:terminal", "no:cacheprovider", "no:nbval", "no:hypothesispytest", "no:xdist"]
    plugins += ["given", "matrix", "verdict"]
    options = [option for plugin in plugins for option in ("-p", plugin)]
    options += ["-c", str(TESTS / "claims.ini")]
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    with no_loop(), redirect_stderr(StringIO()) as told, judge.ending_at_ctrl_c():
        result = pytest.main(
            [str(TESTS), *options, "-s", "-W", "ignore", "--until", until],
            plugins=[judge],
        )
    if judge.interrupted:
        raise KeyboardInterrupt
    if judge.problem:
        raise CannotJudge(f"the tests themselves have failed: {judge.problem}")
    if result == pytest.ExitCode.USAGE_ERROR:
        raise CannotJudge(told.getvalue().strip().removeprefix("ERROR: --target: "))
    if judge.given_up:
        judge.claims.append(Claim("every claim is judged", "a server that answers", judge.given_up))
    if not judge.claims:
        raise CannotJudge("the tests did not run")
    return judge.claims
