"""The server that the shared tests judge: a file, a class, or an address.

    pytest tests --target my_server.py                  a file with a class `Server`
    pytest tests --target package.module:Class
    pytest tests --target localhost:7777                a running server, in any language

As a program, it serves the class that its argument names, so that each test can start a fresh one.
"""

import asyncio
import importlib
import importlib.util
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages import serve
from stages.lab.background import HOST, Background

Address = tuple[str, int]


class Unusable(Exception):
    """There is no such server; the text says what was expected."""


def load(name: str) -> Any:
    """The class that `name` means. Raises `Unusable`."""
    path, _, attribute = (name if ":" in name else f"{name}:Server").rpartition(":")
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
        return getattr(module, attribute)
    except Exception as problem:
        raise Unusable(f"cannot load {name}: {problem!r}") from None


def address_of(target: str | type[serve.Handler]) -> Address | None:
    """The address, if the target is one."""
    host, _, port = target.rpartition(":") if isinstance(target, str) else ("", "", "")
    return (host, int(port)) if host and port.isascii() and port.isdigit() else None


@contextmanager
def serving(target: str | type[serve.Handler]) -> Iterator[Address]:
    """A fresh server of the target's class; or the running one, if the target is an address. Raises `Unusable`."""
    if isinstance(target, type):
        background = Background(target())
        yield HOST, background.port
        background.stop()
        return
    if address := address_of(target):
        try:
            socket.create_connection(address, timeout=3).close()
        except OSError as problem:
            raise Unusable(f"nothing answers at {target}: {problem}") from None
        yield address
        return
    command = [sys.executable, __file__, target]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, encoding="utf-8") as process:
        assert process.stdout
        assert process.stderr
        try:
            line = process.stdout.readline()
            if not line:
                raise Unusable(process.stderr.read().strip().splitlines()[-1])
            yield "127.0.0.1", int(line.rpartition(":")[2])
        finally:
            process.kill()


def main() -> None:
    try:
        server = load(sys.argv[1])()
        asyncio.run(serve.run(server, "target", "127.0.0.1", 0))
    except Exception as problem:
        sys.exit(str(problem) if isinstance(problem, Unusable) else f"cannot start {sys.argv[1]}: {problem!r}")


if __name__ == "__main__":
    main()
