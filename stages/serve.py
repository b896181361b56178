"""Run a stage on a port, stop it cleanly: the command line of every stage.

    $ python -m stages.last_seen 7777
    stages.last_seen listening on localhost:7777

Article: `run_server`, at the end of every listing.
"""

import asyncio
import json
import logging
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol

from stages import arguments, wire

log = logging.getLogger("stages")


class Handler(Protocol):
    """What can be served: any stage's `Server`. One that is an async context manager is entered meanwhile."""

    async def handle_client(self, reader: asyncio.StreamReader, client: wire.Client) -> None: ...


@asynccontextmanager
async def listening(server: Handler, host: str, port: int) -> AsyncIterator[int]:
    """Serve clients on `host`:`port` as long as the `async with` block runs; gives the port (0: any free one).

    Raises OSError if it cannot listen there. At the end every connection is closed.
    """
    clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    # Not a coroutine: asyncio would wrap it in a task of its own, and print a traceback when we cancel it.
    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not listener.is_serving():  # accepted in the moment of stopping
            return writer.transport.abort()
        task = asyncio.create_task(serve_client(server, reader, writer))
        clients[task] = writer
        task.add_done_callback(clients.pop)

    async with AsyncExitStack() as stack:
        if isinstance(server, AbstractAsyncContextManager):
            await stack.enter_async_context(server)
        listener = await asyncio.start_server(connected, host, port, limit=wire.LIMIT, backlog=1024)
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            for task, writer in clients.items():
                task.cancel()
                writer.transport.abort()  # close() would wait for a client that has stopped reading
            await asyncio.gather(*clients, return_exceptions=True)
            await listener.wait_closed()


async def serve_client(server: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client, then send it what is still unsent and close its connection."""
    log.info("New client connected...")
    outbox = wire.Outbox(writer)
    try:
        await server.handle_client(reader, outbox)
    except Exception as fault:  # a bug in a stage: its client is told, the others are served on
        where = traceback.extract_tb(fault.__traceback__)[-1]
        log.error("Failed: %r in %s, %s:%s", fault, where.name, where.filename, where.lineno)
        told = {"error": f"the server failed: {fault!r} in {where.name}, line {where.lineno}"}
        outbox.write(f"{json.dumps(told)}\n".encode())  # JSON of texts is a Python literal, too: any client can read it
    finally:
        await outbox.close()
        log.info("Client disconnected...")


async def run(server: Handler, prog: str, host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):  # loop.add_signal_handler does not exist on Windows
        signal.signal(number, lambda *_: loop.is_closed() or loop.call_soon_threadsafe(stop.set))
    async with listening(server, host, port) as bound:
        print(f"{prog} listening on {host}:{bound}", *getattr(server, "notes", ()), sep="\n", flush=True)
        await stop.wait()


def main(stage: type[Handler]) -> None:
    """The command line: `python -m stages.NAME PORT [--host localhost] [--quiet] [--SETTING N] …`."""
    parser = arguments.Parser(prog=getattr(sys.modules["__main__"].__spec__, "name", None), description=stage.__doc__)
    parser.add_argument("port", type=int, help="0 for any free one")
    parser.add_argument("--host", default="localhost", help="address to listen on, default: %(default)s")
    parser.add_argument("--quiet", action="store_true", help="no line for each connection and command")
    for name, default in arguments.settings_of(stage).items():
        flag, kind = f"--{name.replace('_', '-')}", int if default is None else type(default)
        parser.add_argument(
            flag, type=kind, default=default, metavar="FILE" if kind is str else "N", help="default: %(default)s"
        )
    settings = vars(parser.parse_args())
    host, port, quiet = map(settings.pop, ("host", "port", "quiet"))
    if not 0 <= port < 2**16:
        parser.error(f"port must be 0 to 65535: got {port}")
    log.setLevel(logging.ERROR if quiet else logging.INFO)
    log.addHandler(logging.StreamHandler(sys.stdout))
    logging.raiseExceptions = False  # `| head -1` closes our output: serve on without it
    with parser.complaining():
        server = stage(**settings)
    with parser.complaining(f"cannot serve on {host}:{port}: "):
        asyncio.run(run(server, parser.prog, host, port))
    with suppress(BrokenPipeError):
        print(f"{parser.prog} stopped")
        sys.stdout.close()
