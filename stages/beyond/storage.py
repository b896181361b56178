"""Messages in a file: SQLite, so that a commit is all or nothing, also when the power fails."""

import json
import os
import sqlite3
from typing import Any, Literal

import msgspec

from stages import wire

SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (topic TEXT PRIMARY KEY, next_index INTEGER, evicted INTEGER, last_evicted INTEGER);
CREATE TABLE IF NOT EXISTS messages (topic TEXT, "index" INTEGER, message TEXT, PRIMARY KEY (topic, "index"));
"""

Counters = tuple[int, int, int]
"""Of a topic: its next index, how many messages its cache has evicted, and the index of the last one."""


class Stored(msgspec.Struct):
    """What every message in the file has, and perhaps more."""

    topic: str
    msg: str
    delivery: Literal["all", "one"]
    index: int


def checked(value: Any, kind: Any) -> Any:
    """The value, if it is of that kind. Raises ValueError if it is not: the file is damaged, or another program's."""
    msgspec.convert(value, kind)
    return value


def loaded(topic: str, index: int, text: str) -> wire.Command:
    message: wire.Command = checked(json.loads(text), Stored)
    if (json.dumps(message["topic"]), message["index"]) != (topic, index):
        raise ValueError(f"message {index} of {topic} is another one")
    return message


class Changes:
    """What a transaction is to change: the last state only of each message (None: deleted) and of each topic."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, int], str | None] = {}
        self.topics: dict[str, Counters] = {}
        self.size = 0

    def put(self, message: wire.Command) -> None:
        text = json.dumps(message)
        self.messages[message["topic"], message["index"]] = text
        self.size += len(text)

    def delete(self, topic: str, index: int) -> None:
        self.messages[topic, index] = None

    def __bool__(self) -> bool:
        return bool(self.messages or self.topics)


class Storage:
    """The file `path`, for one process at a time."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def open(self) -> tuple[dict[str, Counters], list[wire.Command]]:
        """Open the file; gives its topics, and its messages in the order of their indexes.

        Raises OSError, in one line that says why, if it cannot be used.
        """
        try:
            # Commits come from different threads, but one at a time.
            self.database = sqlite3.connect(self.path, timeout=1, isolation_level=None, check_same_thread=False)
            return self.prepare()
        except (sqlite3.Error, ValueError, TypeError) as problem:
            self.close()
            told = "another process uses it" if "locked" in str(problem) else problem
            raise OSError(f"cannot keep messages in {self.path}: {told}") from None

    def prepare(self) -> tuple[dict[str, Counters], list[wire.Command]]:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self.database.execute(f"PRAGMA {pragma}")
        self.database.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")
        topics = self.database.execute("SELECT topic, next_index, evicted, last_evicted FROM topics").fetchall()
        messages = self.database.execute('SELECT * FROM messages ORDER BY topic, "index"').fetchall()
        return {json.loads(row[0]): checked(row[1:], Counters) for row in topics}, [loaded(*row) for row in messages]

    def commit(self, changes: Changes) -> None:
        """Make the changes, all or none; when this returns they survive a crash. Raises sqlite3.Error."""
        # A topic is stored as JSON, for SQLite's text cannot hold half a surrogate pair.
        rows = [(json.dumps(topic), index, message) for (topic, index), message in changes.messages.items()]
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            self.database.executemany(
                'DELETE FROM messages WHERE topic = ? AND "index" = ?', [row[:2] for row in rows if row[2] is None]
            )
            self.database.executemany("REPLACE INTO messages VALUES (?, ?, ?)", [row for row in rows if row[2]])
            self.database.executemany(
                "REPLACE INTO topics VALUES (?, ?, ?, ?)",
                [(json.dumps(topic), *counters) for topic, counters in changes.topics.items()],
            )

    def close(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
