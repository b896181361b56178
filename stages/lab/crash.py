"""A server in a process of its own, to be killed."""

import subprocess
import sys
import tempfile
from pathlib import Path

from stages.client import Client


def new_file() -> str:
    """The path of a file for messages, in a new folder."""
    return str(Path(tempfile.mkdtemp()) / "messages.db")


class Server:
    """A stage beyond the article, running; `kill` gives it no time for anything."""

    def __init__(self, stage: str, data: str | None = None) -> None:
        self.stage = stage
        self.data = data or new_file()
        kept = ["--data", self.data] if stage == "durable" else []
        command = [sys.executable, "-m", f"stages.beyond.{stage}", "0", "--quiet", *kept]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    async def connect(self) -> Client:
        return await Client.connect(self.port)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def again(self) -> "Server":
        """Another process, with the same file."""
        return Server(self.stage, self.data)
