"""The one place with threads and sockets: a server in the background, and connections to it. In a
browser, `stages.lab.simulated` takes its place."""

import asyncio
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from stages import serve
from stages.beyond.server.connection import Connection
from stages.lab.workbench.lab import ConnectionFactory, Lab

T = TypeVar("T")

HOST = "127.0.0.1"


class Background:
    """A server on a free port, in a thread with an event loop of its own."""

    def __init__(self, handler: serve.Handler, connection: ConnectionFactory = Connection) -> None:
        self.handler = handler
        self.connection = connection
        self.started: Future[int] = Future()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self.thread.start()
        self.port = self.started.result()  # raises here what went wrong there

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        try:
            async with serve.listening(self.handler, HOST, 0, self.connection) as port:
                self.started.set_result(port)
                await self.stopping.wait()
        except Exception as problem:
            if not self.started.done():
                self.started.set_exception(problem)

    async def connect(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOST, self.port, limit=limit)

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function in the server's loop, where nothing else happens meanwhile."""

        async def call() -> T:
            return function()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), self.loop))

    def reset(self, writer: asyncio.StreamWriter) -> None:
        """Close the connection at once: with no time to linger, the system sends a TCP reset."""
        no_time = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
        writer.transport.abort()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stopping.set)
            # A server that hangs stays behind, and dies with the process.
            self.thread.join(timeout=2)


if sys.platform == "emscripten":
    from stages.lab.simulated.guests import Background
    from stages.lab.simulated.loop import install

    install()


def launch(server: serve.Handler) -> Lab:
    """Run a server in the background; returns the lab to try it in.

    `server` is an instance of any stage's `Server`, or of a class that extends one. Raises here, in
    the caller's cell, what went wrong at the start. `lab.stop()` ends it; so does the end of a
    `with launch(...) as lab:` block.
    """
    return Lab(server, Background)
