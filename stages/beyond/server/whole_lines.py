"""What a client has said, not cut into lines but after lines.

    b"one\\ntwo\\nthr" + b"ee\\n"  ->  b"one\\ntwo", b"three"

No I/O. It costs less to look for the last line break than for all of them.
"""

import logging
from collections.abc import Iterator

from stages.beyond.broker.commands import LIMIT
from stages.connection import log_received, until_quit

logger = logging.getLogger("stages")


class WholeLines:
    """Cuts what a client sends after its last line break, and nowhere else. Of a line longer than
    `LIMIT` only the beginning is kept, itself too long to be accepted."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def feed(self, data: bytes) -> bytes:
        """The lines that end in `data`, without the last line break; b"" ends the last line."""
        end = data.rfind(b"\n") if data else 0
        if end < 0:
            self.rest += data
            del self.rest[LIMIT + 1 :]
            return b""
        lines = b"".join((self.rest, memoryview(data)[:end]))
        self.rest = bytearray(data[end + 1 :])
        return lines


def before_quit(data: bytes) -> tuple[bytes, bool]:
    """The lines before `quit`, and whether there is one."""
    if logger.isEnabledFor(logging.INFO):
        log_received(data.split(b"\n"))
    if b"q" not in data or b"quit" not in data:  # to look for one byte costs next to nothing
        return data, False
    lines, quits = until_quit(data.split(b"\n"))
    return b"\n".join(lines), quits


def cut(data: bytes, most: int) -> Iterator[bytes]:
    """Cut lines into parts of at most so many."""
    if data.count(b"\n") < most:
        if data:
            yield data
        return
    lines = data.split(b"\n")
    for start in range(0, len(lines), most):
        yield b"\n".join(lines[start : start + most])
