"""The command line of every stage: its settings as flags, signals, a line for each trouble.

    $ python -m stages.caching 7777 --cache-length 1000
    stages.caching listening on localhost:7777

Article: `run_server`, at the end of every listing.

Source: Python's `argparse`, made to complain in one line.
"""

import argparse
import asyncio
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, NoReturn, TypeVar

from stages import __version__, addresses, settings, signals
from stages.log_filters import Once
from stages.serve import Guarded, Handler, described, listening

logger = logging.getLogger("stages")

T = TypeVar("T")

OPEN_FILES = 10_500
"""Enough for ten thousand connections."""

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line, and knows the version."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.add_argument("--version", action="version", version=__version__)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")

    def add_settings(self, stage: type, **parts: type) -> None:
        """Add a flag for each setting of a stage, and of the parts that it holds; `parts` are
        others than the usual ones."""
        for kind in (settings.parts_of(stage) | parts).values():
            self.add_settings(kind)
        for each in settings.settings_of(stage):
            default = "" if each.default in (None, "") else f" (default: {each.default})"
            self.add_argument(
                f"--{each.name.replace('_', '-')}",
                type=each.kind,
                default=each.default,
                metavar=each.name.upper() if each.kind is str else "N",
                help=each.meaning.text.replace("%", "%%") + default,
            )


def build(stage: type[T], chosen: Mapping[str, object], **parts: type) -> T:
    """Make a server of the settings chosen, and first its parts. Raises ValueError if some make no
    sense."""
    kinds = settings.parts_of(stage) | parts
    made: dict[str, object] = {name: build(kind, chosen) for name, kind in kinds.items()}
    values = {each.name: chosen[each.name] for each in settings.settings_of(stage)}
    settings.check(stage, values)
    return stage(**made, **values)


def main(
    stage: type[Handler],
    loop_factory: LoopFactory = asyncio.new_event_loop,
    arguments: Sequence[str] | None = None,
    **parts: type,
) -> None:
    """`python -m stages.NAME PORT [--host localhost] [--quiet] [--SETTING N] …`; `parts` are
    others than the usual ones of the stage, by field."""
    name = getattr(sys.modules["__main__"].__spec__, "name", None)
    parser = Parser(prog=name, description=stage.__doc__)
    parser.add_argument("port", type=int, help="0 for any free one")
    parser.add_argument(
        "--host", default="localhost", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="no line for each connection and command"
    )
    parser.add_settings(stage, **parts)
    chosen = vars(parser.parse_args(arguments))
    host, port, quiet = map(chosen.pop, ("host", "port", "quiet"))
    if not 0 <= port < 2**16:
        parser.error(f"port must be 0 to 65535: got {port}")
    try:
        server = build(stage, chosen, **parts)
    except ValueError as problem:
        parser.error(str(problem))
    set_up_process(quiet)
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(run(server, parser.prog, host, port))
    except CannotServe as problem:
        parser.error(str(problem))
    except OSError as problem:
        parser.exit(1, f"{parser.prog}: {problem}\n")
    except Exception as fault:  # a bug, perhaps of a class that extends a stage
        parser.exit(1, f"{parser.prog}: failed: {described(fault)}\n")
    with suppress(OSError, AttributeError):  # stdout may be closed, or a full disk
        print(f"{parser.prog} stopped")
        sys.stdout.close()


class CannotServe(Exception):
    """The server could not be started; the text says why."""


async def run(server: Handler, prog: str, host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM; a second one ends the process on the spot. Raises
    `CannotServe`, and whatever ends the server later."""
    serving, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert serving

    def stopping(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if not loop.is_closed():
            loop.call_soon_threadsafe(serving.cancel)  # also while it starts, which may take long

    signals.wake_the_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopping)  # loop.add_signal_handler does not exist on Windows
    if isinstance(server, Guarded) and hasattr(signal, "SIGHUP"):
        reload = server.reload
        signal.signal(
            signal.SIGHUP, lambda *_: loop.is_closed() or loop.call_soon_threadsafe(reload)
        )
    try:
        async with AsyncExitStack() as stack:
            try:
                missing = await addresses.missing(host)
                bound = await stack.enter_async_context(listening(server, host, port))
            except (ValueError, OSError) as problem:
                raise CannotServe(f"cannot serve on {host}:{port}: {problem}") from None
            with suppress(OSError):  # the disk that we print to may be full
                print(f"{prog} listening on {host}:{bound}", flush=True)
            for address in missing:
                logger.info("Not at %s, an address of %s that this machine lacks", address, host)
            await loop.create_future()
    except asyncio.CancelledError:
        serving.uncancel()


def set_up_process(quiet: bool) -> None:
    """Log to stdout, keep others' warnings and tracebacks from stderr, and allow many
    connections."""
    logger.setLevel(logging.ERROR if quiet else logging.INFO)
    logger.addHandler(logging.StreamHandler(sys.stdout))
    logging.raiseExceptions = False  # `| head -1` closes our output: serve on without it
    logging.getLogger("asyncio").addFilter(Once())
    # Python's parser warns of odd text such as '\d'. That is the sender's affair and not for our
    # stderr; "<unknown>" is the name under which literal_eval compiles.
    warnings.filterwarnings("ignore", module="<unknown>")
    allow_open_files()


def allow_open_files() -> None:
    """Raise this process's limit of open files, if it is too low; say so if the system does not let
    us."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < OPEN_FILES:
        problem = (
            f"this system allows {wanted} open files: expected {OPEN_FILES} for 10000 connections"
        )
        print(f"{problem} (see `ulimit -Hn`)", file=sys.stderr)
