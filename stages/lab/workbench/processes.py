"""Processes that a notebook starts: its stop button leaves them alone, and its end does not.

The stop button sends SIGINT to the kernel's whole process group, so they are in groups of their
own. Then nothing else would end them with a kernel that is killed. But a pipe ends when the
process at its other end does, however that goes.
"""

import subprocess
import sys
from typing import Any

if sys.platform == "win32":
    APART: dict[str, Any] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
else:
    APART = {"process_group": 0}

FOLLOW = """
import os, runpy, signal, sys, threading
def follow(pid):
    while os.read(0, 1):
        pass
    os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
"""
"""Ends a process at the end of standard input."""

SERVE = f"""{FOLLOW}
threading.Thread(target=follow, args=[os.getpid()], daemon=True).start()
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
GUARD = f"{FOLLOW}\nfollow(int(sys.argv[1]))"


NOWHERE: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def started(command: list[str], **streams: Any) -> subprocess.Popen[str]:
    """Start a program in a process group of its own, with a pipe as its standard input."""
    how = {"stdin": subprocess.PIPE, "text": True} | APART | streams
    process: subprocess.Popen[str] = subprocess.Popen(command, **how)
    return process


def module(name: str, *arguments: str) -> list[str]:
    """The command `python -m NAME ARGUMENTS`, of a process that ends with its standard input."""
    return [sys.executable, "-c", SERVE, name, *arguments]


class Program:
    """A process that can be killed, and started again by the same command."""

    def __init__(self, command: list[str]) -> None:
        self.command = command

    def start(self, **streams: Any) -> None:
        self.process = started(self.command, **(NOWHERE | streams))

    def kill(self) -> None:
        """Give it no time for anything."""
        self.process.kill()
        self.process.communicate()


class Stage(Program):
    """The program `python -m MODULE PORT --quiet FLAGS`, and the port on which it serves."""

    def __init__(self, name: str, *flags: str, port: int = 0) -> None:
        super().__init__(module(name, str(port), "--quiet", *flags))
        self.start()

    def start(self, **streams: Any) -> None:
        super().start(stdout=subprocess.PIPE, **streams)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline().rpartition(":")[2])


class Foreign(Program):
    """A program that does not watch its standard input: a guardian kills it when we are gone."""

    def start(self, **streams: Any) -> None:
        super().start(**streams)
        guard = [sys.executable, "-S", "-c", GUARD, str(self.process.pid)]
        self.guardian = started(guard, **NOWHERE)

    def kill(self) -> None:
        self.guardian.kill()
        self.guardian.communicate()
        super().kill()
