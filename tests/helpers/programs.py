"""Stages as programs, started as a user would."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.patience import patient

ROOT = Path(__file__).parents[2]


PYTHON = [sys.executable, "-X", "dev", "-W", "error"]


SLOWLY = str(ROOT / "tests" / "helpers" / "slowly.py")


NO_PACKAGES = "-S"  # the stages of the article need nothing but Python


BUFFERED = os.environ | {"PYTHONUNBUFFERED": ""}  # as for most users


def python(module: str, *arguments: str) -> list[str]:
    return [*PYTHON, *([] if "beyond" in module else [NO_PACKAGES]), SLOWLY, module, *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=patient(60)
    )


@contextmanager
def killed_at_the_end(command: list[str], cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """A running program, which does not outlive the test, nor a minute."""
    pipe: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        command, cwd=cwd, env=BUFFERED, text=True, encoding="utf-8", **pipe
    ) as process:
        hanging = threading.Timer(patient(120), process.kill)
        hanging.start()
        try:
            yield process
        finally:
            hanging.cancel()
            process.kill()


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running stage, and its port."""
    with killed_at_the_end(python(*arguments)) as process:
        assert process.stdout
        line = process.stdout.readline()
        if line.startswith("Messages are kept in "):
            line = process.stdout.readline()
        assert line.startswith(f"{arguments[0]} listening on localhost:"), line
        yield process, int(line.rpartition(":")[2])


def talk(port: int, text: str) -> str:
    """What `nc localhost PORT` would show for this input."""
    with socket.create_connection(("localhost", port), timeout=patient(30)) as client:
        client.sendall(text.encode())
        client.shutdown(socket.SHUT_WR)
        with client.makefile(encoding="utf-8") as answers:
            return answers.read()
