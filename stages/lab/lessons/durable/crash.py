"""Servers in processes of their own, to be killed."""

import atexit
import itertools
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.client import Client
from stages.lab.workbench.processes import Stage

FOLDER = TemporaryDirectory(ignore_cleanup_errors=True)
atexit.register(FOLDER.cleanup)
FILES = itertools.count()


def new_file() -> str:
    """The path of a file for messages that is gone when this program ends."""
    return str(Path(FOLDER.name) / f"messages-{next(FILES)}.db")


def burn(path: str) -> None:
    """Remove a file of messages, and what SQLite has put beside it."""
    for file in Path(path).parent.glob(f"{Path(path).name}*"):
        file.unlink()


class Process(Stage):
    """A stage in a process of its own."""

    def is_busy(self) -> bool:
        """Whether it works all the same when it has nothing to do: a fifth of a second's time,
        within one second."""
        import psutil  # a browser has none

        process = psutil.Process(self.process.pid)
        before = sum(process.cpu_times()[:2])
        time.sleep(1)
        return bool(sum(process.cpu_times()[:2]) - before > 0.2)


if sys.platform == "emscripten":
    from stages.lab.simulated.guests import Process


class Server(Process):
    """A stage beyond the article, running with these settings."""

    def __init__(self, stage: str, *settings: str) -> None:
        self.stage = stage
        self.settings = settings
        if stage == "durable" and "--data" not in settings:
            self.settings = (*settings, "--data", new_file())
        super().__init__(f"stages.beyond.{stage}", *self.settings)

    async def connect(self) -> Client:
        return await Client.connect(self.port, speak="json")

    def restarted(self) -> "Server":
        """Another process, with the same file."""
        return Server(self.stage, *self.settings)
