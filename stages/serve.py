"""Run a stage on a port, stop it cleanly: the command line of every stage.

    $ python -m stages.last_seen 7777
    stages.last_seen listening on localhost:7777

Article: `run_server`, at the end of every listing.
"""

import asyncio
import json
import logging
import os
import signal
import site
import sys
import traceback
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from stages import addresses, first_line, settings, signals, wire
from stages.connection import Connection
from stages.first_line import GuardedReader
from stages.log_filters import Once, Readable

log = logging.getLogger("stages")
log.addFilter(Readable())

BACKLOG = 1000
"""How many connections the system may keep waiting for us."""

TLS_PATIENCE = 5
"""Seconds that a client may take to begin an encrypted connection, and to end it."""

OPEN_FILES = 10_500
"""Enough for ten thousand connections."""

LIBRARIES = [
    Path(__file__).parent,
    Path(asyncio.__file__).parent.parent,
    *map(Path, site.getsitepackages()),
]
OURS_OR_PYTHONS = (*(f"{path}{os.sep}" for path in LIBRARIES), "<frozen")
"""Where the code of the stages, of Python and of its packages lies."""


LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Handler(Protocol):
    """What can be served: any stage's `Server`, or a class of your own with this one method. If it
    is an async context manager, it is entered while it is being served."""

    async def handle_client(self, reader: asyncio.StreamReader, client: Any, /) -> None:
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


@asynccontextmanager
async def listening(
    server: Handler,
    host: str,
    port: int,
    connection: Callable[[asyncio.StreamWriter], Connection] = Connection,
) -> AsyncIterator[int]:
    """Serve clients on `host`:`port` as long as the `async with` block runs; yields the port (0:
    any that is free at all addresses of the host).

    Raises OSError if it cannot listen there. At the end every connection is closed.
    """
    clients: dict[asyncio.Task[None], Connection] = {}

    def new_protocol() -> asyncio.StreamReaderProtocol:
        reader = GuardedReader(wire.LIMIT)
        return asyncio.StreamReaderProtocol(reader, lambda _, writer: connected(reader, writer))

    # Not a coroutine: asyncio would wrap it in a task of its own, and print a traceback when we
    # cancel it.
    def connected(reader: GuardedReader, writer: asyncio.StreamWriter) -> None:
        client = connection(writer)
        if not listener.is_serving():  # accepted while stopping
            return client.abort()
        reader.refuse = partial(refuse, client, port_of(listener))
        task = asyncio.create_task(serve_client(server, reader, client))
        clients[task] = client
        task.add_done_callback(clients.pop)

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
            for task, client in clients.items():
                task.cancel()
                client.abort()  # close() would wait for a client that has stopped reading
            await asyncio.gather(*clients, return_exceptions=True)
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
        log.error(
            "Whoever can reach %s can read and write everything here: see stage secure",
            " and ".join(exposed),
        )


def refuse(client: Connection, port: int, protocol: str) -> None:
    """Tell a client that speaks another protocol what listens here, and close its connection."""
    log.info("Rejected: %s, not one command a line", protocol)
    client.write(first_line.answer(protocol, port))
    client.end()


async def serve_client(server: Handler, reader: asyncio.StreamReader, client: Connection) -> None:
    """Serve one client, then send it what is still unsent and close its connection."""
    log.info("New client connected...")
    try:
        await server.handle_client(reader, client)
    except Exception as fault:  # a bug in a stage: tell this client, and go on serving the others
        log.error("Failed: %s", described(fault), extra={"fault": described(fault)})
        reply = {"error": f"the server failed: {described(fault)}"}
        # JSON of texts is a Python literal, too: any client can read it
        client.write(f"{json.dumps(reply)}\n".encode())
    finally:
        await client.close()
        log.info("Client disconnected...")


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
                log.info("Not at %s, an address of %s that this machine lacks", address, host)
            await loop.create_future()
    except asyncio.CancelledError:
        serving.uncancel()


def main(stage: type[Handler], loop_factory: LoopFactory = asyncio.new_event_loop) -> None:
    """The command line: `python -m stages.NAME PORT [--host localhost] [--quiet] [--SETTING N]
    …`."""
    name = getattr(sys.modules["__main__"].__spec__, "name", None)
    parser = settings.Parser(prog=name, description=stage.__doc__)
    parser.add_argument("port", type=int, help="0 for any free one")
    parser.add_argument(
        "--host", default="localhost", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="no line for each connection and command"
    )
    parser.add_settings(stage)
    chosen = vars(parser.parse_args())
    host, port, quiet = map(chosen.pop, ("host", "port", "quiet"))
    if not 0 <= port < 2**16:
        parser.error(f"port must be 0 to 65535: got {port}")
    try:
        server = stage(**chosen)
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


def set_up_process(quiet: bool) -> None:
    """Log to stdout, keep others' warnings and tracebacks from stderr, and allow many
    connections."""
    log.setLevel(logging.ERROR if quiet else logging.INFO)
    log.addHandler(logging.StreamHandler(sys.stdout))
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
