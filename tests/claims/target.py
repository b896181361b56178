"""The server that the shared tests judge: a file, a class, or an address.

    pytest tests/claims --target my_server.py                  a file with a class `Server`
    pytest tests/claims --target package.module:Class
    pytest tests/claims --target localhost:7777                a running server, in any language

As a program, it serves the class that its argument names, so that each test can start a fresh one.
"""

import asyncio
import importlib
import importlib.util
import inspect
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from stages import serve
from stages.patience import patient
from stages.settings import for_trial

Address = tuple[str, int]
HOST = "127.0.0.1"
START = patient(10)
"""Seconds that a server may take to start."""


FAULTS = "faults.txt"
"""In the folder of a test: with what the server failed, a line each."""


class Unusable(Exception):
    """There is no such server; the text says what was expected."""


@contextmanager
def faults_kept(folder: str) -> Iterator[None]:
    """Meanwhile, keep with what a server of this process fails, and where."""

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if fault := getattr(record, "fault", None):
                with open(os.path.join(folder, FAULTS), "a", encoding="utf-8") as file:
                    print(fault, file=file)

    log, keeper = logging.getLogger("stages"), Keeper()
    log.addHandler(keeper)
    try:
        yield
    finally:
        log.removeHandler(keeper)


def why_unusable(server: object) -> str | None:
    """What a class lacks to be a server, if it does."""
    if not isinstance(server, type):
        return f"{server!r} is no class: expected one, and not what it makes"
    method = inspect.unwrap(getattr(server, "handle_client", lambda: None))
    if not inspect.iscoroutinefunction(method):
        return (
            f"the class {server.__name__} is no server: "
            "expected a method `async def handle_client(self, reader, client)`"
        )
    return None


def load(name: str) -> Any:
    """The class that `name` means. Raises `Unusable`."""
    named = ".py:" in name or (
        ":" in name and not name.endswith(".py")
    )  # C:\\my_server.py has a colon, too
    path, _, attribute = (name if named else f"{name}:Server").rpartition(":")
    try:
        if path.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(path).stem, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, "")
            module = importlib.import_module(path)
        server = getattr(module, attribute, None)
    except SyntaxError as problem:
        where = f"{problem.filename}, line {problem.lineno}"
        raise Unusable(f"cannot load {name}: {problem.msg} in {where}") from None
    except BaseException as problem:  # also sys.exit()
        raise Unusable(f"cannot load {name}: {problem!r}") from None
    if server is None:
        raise Unusable(f"cannot load {name}: it has no class `{attribute}`")
    if lacks := why_unusable(server):
        raise Unusable(f"cannot use {name}: {lacks}")
    return server


def address_of(target: str | type[serve.Handler]) -> Address | None:
    """The address, if the target is one."""
    host, _, port = target.rpartition(":") if isinstance(target, str) else ("", "", "")
    return (host, int(port)) if host and port.isascii() and port.isdigit() else None


@contextmanager
def serving(target: str | type[serve.Handler], folder: str) -> Iterator[Address]:
    """A fresh server of the target's class, which may keep files in `folder`; or the running one,
    if the target is an address. Raises `Unusable`."""
    if sys.platform == "emscripten" and isinstance(target, str):  # it has no processes
        target = load(target)
    if isinstance(target, type):
        # Not at the top: the program, which starts often, goes without.
        from stages.lab.simulated import guests, loop
        from stages.lab.workbench.background import Background

        in_memory = isinstance(asyncio._get_running_loop(), loop.Loop)
        with faults_kept(folder):
            server = for_trial(target, folder)
            background = guests.watched(server) if in_memory else Background(server)
            try:
                yield HOST, background.port
            finally:
                background.stop()
        return
    if address := address_of(target):
        try:
            socket.create_connection(address, timeout=patient(3)).close()
        except OSError as problem:
            raise Unusable(f"nothing answers at {target}: {problem}") from None
        yield address
        return
    if not target.endswith(".py") and not all(target.rpartition(":")):
        forms = "my_server.py, package.module:Class or localhost:7777"
        raise Unusable(f"{target!r} is nothing to judge: expected {forms}")
    command = [sys.executable, __file__, target, folder]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is for us; and it takes its children with it
    ) as process:
        assert process.stdout
        patience = threading.Timer(START, process.kill)
        patience.start()
        line = process.stdout.readline().strip()
        patience.cancel()
        try:
            if not line.isdigit():
                raise Unusable(
                    line
                    or f"{target} has not started within {START:g} seconds: does it serve when imported?"
                )
            yield HOST, int(line)
        finally:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    if os.name == "nt":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def serve_until_killed(server: serve.Handler, out: TextIO) -> None:
    async with serve.listening(server, HOST, 0) as port:
        print(port, file=out, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Print the port, or what is wrong; what the server itself prints is dropped."""
    out, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115
    try:
        server = load(sys.argv[1])
        with faults_kept(sys.argv[2]):
            asyncio.run(serve_until_killed(for_trial(server, sys.argv[2]), out))
    except Unusable as problem:
        print(problem, file=out)
    except Exception as problem:
        print(f"cannot start {sys.argv[1]}: {serve.described(problem)}", file=out)


if __name__ == "__main__":
    main()
