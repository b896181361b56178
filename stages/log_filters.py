"""What may go into a log: one readable line for each thing, and nobody's token.

Source: OWASP's *Log injection*.
"""

import logging
import re

TOKEN = re.compile(r"""(\btoken\\*["']\s*:\s*)(["'](?:[^"'\\]|\\.)*["']|.*)""")
"""A field `token`, with its value as a text that ends, or as anything else."""

ESCAPED = re.compile(r"\\+u00([0-7][0-9a-fA-F])")
"""A letter as JSON may spell it, so that a field's name can be read."""


class Readable(logging.Filter):
    """Escapes what could move a terminal's cursor or begin a new line, no matter who wrote it, and
    masks tokens. A record with arguments is one line; the lines of others are escaped already."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        lines = [text] if record.args else text.split("\n")
        record.msg, record.args = "\n".join(map(readable, lines)), ()
        return True


def readable(line: str) -> str:
    """A line as it may stand in a log."""
    if not line.isprintable():
        line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)
    if "token" in line or r"\u00" in line:
        plain = ESCAPED.sub(lambda found: chr(int(found[1], 16)), line)
        if TOKEN.search(plain):
            return TOKEN.sub(r'\1"…"', plain)
    return line


class Once(logging.Filter):
    """Passes one record for each trouble: asyncio reports each of a thousand connections that it
    could not accept, and each with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        first = record.getMessage().partition("\n")[0]
        new = first not in self.seen
        self.seen.add(first)
        record.msg, record.args, record.exc_info = first, (), None
        return new
