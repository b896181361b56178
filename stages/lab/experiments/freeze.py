"""The article's read loop, in a server that only echoes: one client that just leaves freezes it.

    $ python -m stages.lab.experiments.freeze

Article: the `while` loop of `handle_client`, from Delivery to Last seen semantics.
"""

import asyncio
import time

import psutil


async def handle_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line = ""
    while line.strip() != "quit":
        line = (await reader.readline()).decode()
        if line.strip() == "":
            continue  # at the end of file: forever
        writer.write(line.encode())
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(handle_client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def ask(port: int) -> bool:
    """Whether a server answers a line within a second."""
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello\nquit\n")
            return await reader.readline() != b""
    except TimeoutError:
        return False


async def leave(port: int) -> None:
    """Be a client that is served, and then just closes its connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\n")
    await reader.readline()
    writer.close()
    await writer.wait_closed()


def is_busy(pid: int) -> bool:
    """Whether a process that has nothing to do works all the same: a fifth of a second's time,
    within one second."""
    process = psutil.Process(pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(1)
    return sum(process.cpu_times()[:2]) - before > 0.2


if __name__ == "__main__":
    asyncio.run(main())
