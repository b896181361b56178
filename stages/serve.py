"""Serve clients on a port, and stop cleanly.

    async with listening(Server(), "localhost", 7777) as port:
        ...                 each client is served in a task of its own, as long as this block runs

Article: `asyncio.start_server`, in every listing.
"""

import asyncio
import json
import logging
import os
import site
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from stages import addresses, first_line, settings, wire
from stages.connection import Connection
from stages.first_line import GuardedReader
from stages.log_filters import Readable

logger = logging.getLogger("stages")
logger.addFilter(Readable())

BACKLOG = 1000
"""How many connections the system may keep waiting for us."""

TLS_PATIENCE = 5
"""Seconds that a client may take to begin an encrypted connection, and to end it."""

LIBRARIES = [
    Path(__file__).parent,
    Path(asyncio.__file__).parent.parent,
    *map(Path, site.getsitepackages()),
]
OURS_OR_PYTHONS = (*(f"{path}{os.sep}" for path in LIBRARIES), "<frozen")
"""Where the code of the stages, of Python and of its packages lies."""


class Handler(Protocol):
    """What can be served: any stage's `Server`, or a class of your own with this one method. If it
    is an async context manager, it is entered while it is being served."""

    async def handle_client(self, reader: asyncio.StreamReader, client: Any, /) -> None:  # noqa: ANN401
        """Serve one client until it leaves: read what it says from `reader`, answer with
        `client.write(bytes)`, and return at `quit` or at the end of file. The connection, a
        `Connection`, is closed then, or if this raises."""


@runtime_checkable
class Guarded(Handler, Protocol):
    """A server with a lock, such as stage `secure`: what it has a say in, beside its clients."""

    tls: SSLContext | None
    """How connections are encrypted, if they are."""

    def allow_exposure(self) -> None:
        """Others than this machine can connect: raise ValueError if they must not."""

    def reload(self) -> None:
        """Read anew what may have changed, at SIGHUP."""


@runtime_checkable
class Connecting(Handler, Protocol):
    """A server that asks more of its connections than to be written to: those of the stages beyond
    the article do. One that hands its clients on to such a server says so, too."""

    connection_class: type[Connection]


@asynccontextmanager
async def listening(
    server: Handler,
    host: str,
    port: int,
    new_connection: Callable[[asyncio.StreamWriter], Connection] | None = None,
) -> AsyncIterator[int]:
    """Serve clients on `host`:`port` as long as the `async with` block runs; yields the port (0:
    any that is free at all addresses of the host).

    Raises OSError if it cannot listen there, ValueError if a setting of the server makes no sense.
    At the end every connection is closed.
    """
    settings.check(type(server), vars(server))
    usual = server.connection_class if isinstance(server, Connecting) else Connection
    connections: dict[asyncio.Task[None], Connection] = {}

    def new_protocol() -> asyncio.StreamReaderProtocol:
        reader = GuardedReader(wire.LIMIT)
        return asyncio.StreamReaderProtocol(reader, lambda _, writer: connected(reader, writer))

    # Not a coroutine: asyncio would wrap it in a task of its own, and print a traceback when we
    # cancel it.
    def connected(reader: GuardedReader, writer: asyncio.StreamWriter) -> None:
        connection = (new_connection or usual)(writer)
        if not listener.is_serving():  # accepted while stopping
            return connection.abort()
        reader.refuse = partial(refuse, connection, port_of(listener))
        task = asyncio.create_task(serve_client(server, reader, connection))
        connections[task] = connection
        task.add_done_callback(connections.pop)

    tls = server.tls if isinstance(server, Guarded) else None
    patience: dict[str, Any] = (
        {"ssl_handshake_timeout": TLS_PATIENCE, "ssl_shutdown_timeout": TLS_PATIENCE} if tls else {}
    )
    async with AsyncExitStack() as stack:
        if isinstance(server, AbstractAsyncContextManager):
            await stack.enter_async_context(server)
        listener = await addresses.listen(
            new_protocol, host, port, backlog=BACKLOG, ssl=tls, **patience, start_serving=False
        )
        try:
            allow_exposure(server, listener)
            await listener.start_serving()
            yield port_of(listener)
        finally:
            listener.close()
            for task, connection in connections.items():
                task.cancel()
                connection.abort()  # close() would wait for a client that has stopped reading
            await asyncio.gather(*connections, return_exceptions=True)
            await listener.wait_closed()


def port_of(listener: asyncio.Server) -> int:
    return int(listener.sockets[0].getsockname()[1])


def allow_exposure(server: Handler, listener: asyncio.Server) -> None:
    """Say it if others than this machine can connect; or raise ValueError, if a guarded server
    wants it so."""
    hosts = [socket.getsockname()[0] for socket in listener.sockets]
    exposed = [host for host in hosts if not ip_address(host.partition("%")[0]).is_loopback]
    if exposed:
        if isinstance(server, Guarded):
            return server.allow_exposure()
        logger.error(
            "Whoever can reach %s can read and write everything here: see stage secure",
            " and ".join(exposed),
        )


def refuse(connection: Connection, port: int, protocol: str) -> None:
    """Tell a client that speaks another protocol what listens here, and close its connection."""
    logger.info("Rejected: %s, not one command a line", protocol)
    connection.write(first_line.answer(protocol, port))
    connection.end()


async def serve_client(
    server: Handler, reader: asyncio.StreamReader, connection: Connection
) -> None:
    """Serve one client, then send it what is still unsent and close its connection."""
    logger.info("New client connected...")
    try:
        await server.handle_client(reader, connection)
    except Exception as fault:  # a bug in a stage: tell this client, and go on serving the others
        logger.error("Failed: %s", described(fault), extra={"fault": described(fault)})
        reply = {"error": f"the server failed: {described(fault)}"}
        # JSON of texts is a Python literal, too: any client can read it
        connection.write(f"{json.dumps(reply)}\n".encode())
    finally:
        await connection.close()
        logger.info("Client disconnected...")


def described(fault: BaseException) -> str:
    """An exception and where it was raised, for the author of a class that extends a stage: the
    last line of that class that ran, as in "KeyError: 'x' in Mine.news, line 4"."""
    frame, line = (learners_frames(fault) or list(traceback.walk_tb(fault.__traceback__)))[-1]
    name = frame.f_code.co_qualname.rpartition("<locals>.")[2]
    return f"{type(fault).__name__}: {fault} in {name}, line {line}"


def learners_frames(fault: BaseException) -> list[tuple[FrameType, int]]:
    """The frames, and their lines, that are neither ours nor Python's."""
    frames = traceback.walk_tb(fault.__traceback__)
    return [each for each in frames if not each[0].f_code.co_filename.startswith(OURS_OR_PYTHONS)]
