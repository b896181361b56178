"""Loops that take turns in one thread: one is the host, and others, its guests, run within it."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tqdm import tqdm

from stages.lab.simulated import network

SLICE = 0.05
"""Seconds after which a guest gives way to the others."""


class Stuck(RuntimeError):
    """Nobody has anything to do, ever again."""


class Clock:
    """The time of loops that work together is ahead of the time of day by what they did not wait."""

    skipped = 0.0


class Loop(asyncio.BaseEventLoop):
    """An event loop with no system below it.

    Told to run (`run_until_complete`), it runs to the end. Nothing can happen meanwhile but what
    happens in memory: so where others wait, it puts its clock forward. Otherwise it is a guest: as
    soon as it is given something to do, it asks the loop that runs for a turn.
    """

    create_server = network.create_server  # type: ignore[assignment]
    create_connection = network.create_connection  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.host = host_of(asyncio._get_running_loop())
        self.clock: Clock = self.host.clock if isinstance(self.host, Loop) else Clock()
        self.runs_to_the_end = False
        self.has_asked = False  # for a turn
        self.until = 0.0  # when its turn is over
        self.idle: float | None = None  # how long there is nothing to do
        self.timer: asyncio.TimerHandle | None = None
        self.trace = sys.gettrace()  # each loop has one of its own, as a thread has
        self._selector = self  # whom asyncio asks to wait

    def time(self) -> float:
        return time.monotonic() + self.clock.skipped

    def select(self, timeout: float | None) -> list[Any]:
        """Wait until something happens, at most so many seconds (None: for ever)."""
        if not self.runs_to_the_end:
            if timeout != 0 or time.monotonic() > self.until:
                self.idle = timeout
                self.stop()
        elif timeout is None:
            raise Stuck("nothing will ever happen again")
        else:
            self.clock.skipped += timeout
        return []

    def _process_events(self, events: list[Any]) -> None:
        """There are none: what `select` returns is empty."""

    def _write_to_self(self) -> None:
        """Something was given to us from outside: ask for a turn."""
        if not self.runs_to_the_end and not self.has_asked:
            self.host = host_of(asyncio._get_running_loop()) or self.host
            if self.host and not self.host.is_closed():
                self.has_asked = True
                self.host.call_soon(self.turn)

    def turn(self) -> None:
        """Do what there is to do, and come again when there is more."""
        self.has_asked = False
        if self.is_closed():
            return
        self.run_forever()
        if self.timer:
            self.timer.cancel()
        if self.idle is not None:
            self.timer = self.host.call_later(self.idle, self.turn)

    def run_forever(self) -> None:
        self.until = time.monotonic() + SLICE
        with no_loop(), traced_by(self.trace):
            super().run_forever()
            self.trace = sys.gettrace()

    def run_until_complete(self, future: Any) -> Any:
        self.runs_to_the_end = True
        try:
            with no_loop():
                return super().run_until_complete(future)
        finally:
            self.runs_to_the_end = False
            self._write_to_self()  # what is left is done in turns

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What a closed loop has left behind is nobody's fault any more."""
        if not self.is_closed():
            super().call_exception_handler(context)

    def run_in_executor(self, _: Any, function: Callable[..., Any], *arguments: Any) -> Any:  # type: ignore[override]
        """There are no threads: do it at once, untraced as in a thread, and tell it later."""
        done = self.create_future()
        with traced_by(None):
            try:
                tell: Callable[[], object] = partial(done.set_result, function(*arguments))
            except Exception as problem:
                tell = partial(done.set_exception, problem)
        self.call_soon(lambda: done.cancelled() or tell())
        return done


def host_of(running: asyncio.AbstractEventLoop | None) -> Any:
    """The loop that gives turns when this one runs: itself, or if it is a guest, its host, which
    outlives it."""
    return (running.host or running) if isinstance(running, Loop) else running


@contextmanager
def traced_by(function: Any) -> Iterator[None]:
    """Meanwhile, this is the trace function, or there is none."""
    before = sys.gettrace()
    sys.settrace(function)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def no_loop() -> Iterator[None]:
    """Meanwhile no loop runs, as far as asyncio knows: another one can."""
    running = asyncio._get_running_loop()
    task = asyncio.current_task() if running else None
    if running and task:
        asyncio.tasks._leave_task(running, task)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(running)
        if running and task:
            asyncio.tasks._enter_task(running, task)


def install() -> None:
    """Give the browser's own loop, in which notebooks run, what it lacks."""
    from pyodide.webloop import WebLoop  # type: ignore[import-not-found]

    tqdm.monitor_interval = 0  # else it wants a thread
    WebLoop.create_server = network.create_server
    WebLoop.create_connection = network.create_connection
