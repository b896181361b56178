"""How the buffers between a sender and a reader that is stuck fill: the figures for `pipe.py`.

    $ python -m stages.lab.lessons.slow_consumers.buffers       # measures anew (Linux), and stores them

Source: Linux's `SIOCINQ` and `SIOCOUTQ`, tcp(7).
"""

import asyncio
import fcntl
import json
import struct
import termios
from contextlib import AsyncExitStack
from typing import Any

from stages.client import Client
from stages.lab.lessons.slow_consumers.pipe import PLACES, RECORD, Sample
from stages.lab.lessons.slow_consumers.slow import BlockForEver, transport_of
from stages.lab.workbench.background import HOST, Background
from stages.lab.workbench.progress import progress

LENGTH, MESSAGES = 2**17, 136
EVERY = 8  # messages


async def measure() -> list[Sample]:
    """Send past a reader that is stuck, on a server that waits for it for ever."""
    background = Background(server := BlockForEver(cache_length=0))
    samples = [[0] * len(PLACES)]
    async with AsyncExitStack() as stack:
        stack.callback(background.stop)
        sender, reader = [
            await stack.enter_async_context(
                await Client.connect(background.port, HOST, speak="json")
            )
            for _ in range(2)
        ]
        await reader.subscribe("foo", cache=False)
        transport_of(reader).pause_reading()
        from_sender, to_reader = server.connections.values()
        sender_socket, reader_socket, in_socket, out_socket = [
            each.writer.get_extra_info("socket")
            for each in (sender, reader, from_sender, to_reader)
        ]
        command = {"command": "send", "topic": "foo", "msg": "x" * LENGTH, "delivery": "all"}
        for number in progress(range(MESSAGES), "message"):
            sender.writer.write(sender.encode(command))
            if number % EVERY == EVERY - 1:
                await asyncio.sleep(0.05)
                samples.append(
                    [
                        sender.writer.transport.get_write_buffer_size(),
                        queued(sender_socket, termios.TIOCOUTQ),
                        queued(in_socket, termios.FIONREAD),
                        len(server.outboxes[2].pending) * LENGTH + to_reader.size,
                        queued(out_socket, termios.TIOCOUTQ),
                        queued(reader_socket, termios.FIONREAD),
                    ]
                )
        for client in (sender, reader):
            transport_of(client).abort()
    return samples


def queued(socket: Any, request: int) -> int:
    """Bytes that the system has for a socket."""
    (number,) = struct.unpack("i", fcntl.ioctl(socket.fileno(), request, struct.pack("i", 0)))
    return int(number)


if __name__ == "__main__":
    RECORD.write_text(json.dumps(asyncio.run(measure())) + "\n", encoding="utf-8")
