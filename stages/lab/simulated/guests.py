"""Servers in loops of their own: what `Background` and `Process` are where there are threads and
processes."""

import asyncio
import importlib
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing, suppress
from contextvars import Context
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, cast

from stages import serve
from stages.beyond.server.connection import Connection
from stages.command_line import Parser
from stages.lab.simulated import network
from stages.lab.simulated.loop import SLICE, Loop

T = TypeVar("T")


class Hangs(BaseException):
    """Raised in a server that works, and does not come to an end. No `except Exception` stops
    it."""


class WatchedLoop(Loop):
    """A loop that interrupts its server when it hangs.

    It looks at the lines of learners' code and of lessons alone: the stages come to an end, and
    each line that is looked at costs as much as ten.
    """

    hangs = False

    patience = 10.0
    """Seconds that it may work without giving way, before it is taken for one that hangs."""

    def call_soon(  # type: ignore[override]
        self, callback: Any, *arguments: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon(self.watch, callback, *arguments, context=context)

    def watch(self, callback: Callable[..., object], *arguments: Any) -> None:
        self.until = time.monotonic() + SLICE
        sys.settrace(self.called)  # each time: Python forgets a trace function that has raised
        try:
            callback(*arguments)
        except (SystemExit, KeyboardInterrupt):  # nor does a process that has ended answer
            self.hangs = True
            self.stop()

    def called(self, frame: FrameType, event: str, argument: object) -> Any:
        return self.line if may_hang(frame.f_code.co_filename) else None

    def line(self, frame: FrameType, event: str, argument: object) -> Any:
        if time.monotonic() > self.until + self.patience:
            self.hangs = True
            self.stop()
            where = f"{frame.f_code.co_qualname.rpartition('<locals>.')[2]}, line {frame.f_lineno}"
            fault = f"Hangs: no end within {self.patience:g} s in {where}"
            serve.logger.error("Failed: %s", fault, extra={"fault": fault})
            raise Hangs
        return self.line

    def turn(self) -> None:
        """One that hangs gets no further turn, as if it still had this one."""
        if not self.hangs:
            super().turn()


@cache
def may_hang(path: str) -> bool:
    return path.startswith(LESSONS) or not path.startswith(serve.OURS_OR_PYTHONS)


LESSONS = str(Path(__file__).parent.parent / "lessons")


class Background:
    """A server in a loop of its own, which takes turns with the one that runs."""

    def __init__(
        self,
        handler: serve.Handler,
        connection: Callable[[asyncio.StreamWriter], Any] = Connection,
        loop: Loop | None = None,
    ) -> None:
        self.loop = loop or Loop()
        self.serving = AsyncExitStack()
        listening = serve.listening(handler, network.HOST, 0, connection)
        try:
            self.port = self.loop.run_until_complete(self.serving.enter_async_context(listening))
        except BaseException:
            self.loop.close()
            raise

    async def connect(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(network.HOST, self.port, limit=limit)

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function in the server's loop, where nothing else happens meanwhile."""

        async def call() -> T:
            return function()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), self.loop))

    def reset(self, writer: asyncio.StreamWriter) -> None:
        """Close the connection at once, as a program that breaks off."""
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"")
        writer.transport.abort()

    def stop(self) -> None:
        if not self.loop.is_closed():
            # One that does not end stays behind.
            with closing(self.loop), suppress(RuntimeError):
                self.loop.run_until_complete(self.end())

    async def end(self) -> None:
        await self.serving.aclose()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def watched(handler: serve.Handler) -> Background:
    """Run a server that somebody is still learning to write."""
    return Background(handler, loop=WatchedLoop())


class Process:
    """A server as if it were in a process: `python -m MODULE 0 FLAGS`."""

    def __init__(self, module: str, *flags: str) -> None:
        stage = importlib.import_module(module).Server
        parser = Parser(prog=module)
        parser.add_settings(stage)
        self.server = stage(**vars(parser.parse_args(flags)))
        self.connections: list[Connection] = []
        self.loop = WatchedLoop()
        self.loop.patience = 1  # in a lesson, somebody waits to see it
        self.background = Background(self.server, self.connected, self.loop)
        self.port = self.background.port

    def connected(self, writer: asyncio.StreamWriter) -> Connection:
        self.connections.append(Connection(writer))
        return self.connections[-1]

    def is_busy(self) -> bool:
        return self.loop.hangs

    def kill(self) -> None:
        """Give it no time for anything. The system lets go of its connections, and of its file."""
        if not self.loop.is_closed():
            KILLED.append(self)
            self.loop.close()
            network.vanish(self.loop)
            for connection in self.connections:
                end = cast(network.End, connection.writer.transport)
                end.vanish(reset=bool(end.incoming))
            if file := getattr(getattr(self.server, "sequencer", None), "file", None):
                let_go(file.database)


KILLED: list[Process] = []
"""They are kept: what is forgotten is tidied up, and one that was killed tidies up nothing."""


def let_go(database: sqlite3.Connection) -> None:
    """Close a file and leave it as it is, also what SQLite has put beside it."""
    if sys.version_info >= (3, 12):  # browsers have more
        database.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
    database.close()
