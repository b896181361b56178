"""A server in a process of its own, to be killed."""

import atexit
import itertools
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.client import Client

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


class Server:
    """A stage beyond the article, running with these settings; `kill` gives it no time for
    anything."""

    def __init__(self, stage: str, *settings: str) -> None:
        self.stage = stage
        self.settings = settings
        if stage == "durable" and "--data" not in settings:
            self.settings = (*settings, "--data", new_file())
        command = [sys.executable, "-m", f"stages.beyond.{stage}", "0", "--quiet", *self.settings]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    async def connect(self) -> Client:
        return await Client.connect(self.port, speak="json")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def restarted(self) -> "Server":
        """Another process, with the same file."""
        return Server(self.stage, *self.settings)
