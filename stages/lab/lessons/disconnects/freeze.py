"""The article's read loop, in a server that only echoes: one client that just leaves freezes it.

    $ python -m stages.lab.lessons.disconnects.freeze 7777

Article: the `while` loop of `handle_client`, from Delivery to Last seen semantics.
"""

import asyncio

from stages import command_line
from stages.beyond.server.connection import Connection
from stages.patience import patient


class Server:
    """A server that echoes each line."""

    async def handle_client(self, reader: asyncio.StreamReader, client: Connection) -> None:
        line = ""
        while line.strip() != "quit":
            line = (await reader.readline()).decode()
            if line.strip() == "":
                continue  # at the end of file: forever
            client.write(line.encode())


async def ask(port: int) -> bool:
    """Whether a server answers a line within a second."""
    try:
        async with asyncio.timeout(patient(1)):
            reader, writer = await asyncio.open_connection("localhost", port)
            writer.write(b"hello\nquit\n")
            return await reader.readline() != b""
    except TimeoutError:
        return False


async def leave(port: int) -> None:
    """Be a client that is served, and then just closes its connection."""
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(b"hello\n")
    await reader.readline()
    writer.close()
    await writer.wait_closed()


if __name__ == "__main__":
    command_line.main(Server)
