"""Lesson 12: users, certificates, and servers for a few lines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import Any

from stages import serve
from stages.beyond.door import users
from stages.lab.lessons.durable import crash
from stages.lab.lessons.secure.relay import Relay
from stages.lab.simulated import NotInABrowser

__all__ = ["OWN_AUTHORITY", "Relay", "file_of", "posted", "said_to", "served"]


@asynccontextmanager
async def served(server: Any) -> AsyncIterator[int]:
    """A server on a free port, in the loop of the notebook."""
    async with serve.listening(server, "127.0.0.1", 0) as port:
        yield port


def file_of(**rights: str) -> str:
    """The path of a file of users, with a right for each. The token of alice is "token of alice":
    not what you should do."""
    path = Path(crash.new_file()).with_suffix(".toml")
    entries = [
        users.entry(name, f"token of {name}", [right], [right]) for name, right in rights.items()
    ]
    path.write_text("\n".join(entries), encoding="utf-8")
    return str(path)


async def said_to(port: int, data: bytes) -> asyncio.StreamWriter:
    """Connect, and say something, or nothing."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return writer


async def posted(port: int, command: str) -> str:
    """Post a command, as a page has a browser do it; returns the first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n{command}\n".encode())
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()


class Authority:
    """An authority for certificates of our own."""

    @cached_property
    def authority(self) -> Any:
        try:
            import trustme
        except ImportError:
            raise NotInABrowser("Python has no TLS there") from None
        return trustme.CA()

    def certificate(self, name: str) -> str:
        """The path of a certificate for a name, and its key."""
        path = crash.new_file()
        made = self.authority.issue_cert(name)
        made.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def trusting(self) -> SSLContext:
        """What a client needs in order to trust it, and nobody else."""
        context = create_default_context()
        self.authority.configure_trust(context)
        return context


OWN_AUTHORITY = Authority()
