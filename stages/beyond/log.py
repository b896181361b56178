"""What a broker was given, in a file: each batch as it came, and now and then a snapshot in place
of those before.

    log       number, batch        a row for each batch, since the snapshot
    snapshot  number, pieces       the broker as it was after that batch

SQLite makes a commit all or nothing, also when the power fails (`synchronous = FULL`).

Source: the write-ahead log of databases; Redis' append-only file and its rewriting.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from stages.beyond.broker import Batch

FORMAT = 2
"""Of the file. Format 1 had a row for each message."""

SCHEMA = f"""
CREATE TABLE log (number INTEGER PRIMARY KEY, batch BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE snapshot (id INTEGER PRIMARY KEY, number INTEGER NOT NULL, pieces BLOB NOT NULL,
checksum INTEGER NOT NULL); CREATE TABLE complete (number INTEGER NOT NULL);
INSERT INTO complete VALUES (0);
PRAGMA user_version = {FORMAT};
"""

SWEEP_BATCHES, SWEEP_PIECES = 100, 10
"""How many old rows a commit deletes at most: to delete all at once would take its time."""


class Log:
    """The file `path`, for one process at a time. `append` and `sweep` may be called in another
    thread, one at a time."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.number = 0  # of the last batch
        self.size = 0  # of the batches since the last snapshot was begun, in bytes
        self.swept = True

    def open(self) -> None:
        """Open the file, or make a new one. Raises OSError, in one line that says why, if it cannot
        be used."""
        try:
            self.database = self.connect()
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self.database.execute(f"PRAGMA {pragma}")
            self.prepare()
            self.file = self.identity()
        except (sqlite3.Error, ValueError) as problem:
            self.close()
            reason = "another process uses it" if "locked" in str(problem) else problem
            raise OSError(f"cannot keep messages in {self.path}: {reason}") from None

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=1, isolation_level=None, check_same_thread=False)

    def prepare(self) -> None:
        self.database.execute("BEGIN IMMEDIATE")  # now we know that nobody else has it
        (format,) = self.database.execute("PRAGMA user_version").fetchone()
        (tables,) = self.database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self.database.execute("COMMIT")
        if not tables:
            self.database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        elif format != FORMAT:
            raise ValueError(
                f"it has format {format}, of another version or program: expected format {FORMAT}"
            )

    # Reading

    def snapshot(self, types: Any) -> Iterator[Any]:
        """Yield the pieces of the last complete snapshot. Raises OSError if the file is damaged."""
        with self.telling_damage():
            (self.number,) = self.database.execute("SELECT number FROM complete").fetchone()
            self.database.execute(
                "DELETE FROM snapshot WHERE number > ?", (self.number,)
            )  # never completed
            query = "SELECT pieces, checksum FROM snapshot WHERE number = ? ORDER BY id"
            for pieces, checksum in self.database.execute(query, (self.number,)):
                yield from decode(checked(pieces, checksum), list[types])

    def batches(self) -> Iterator[Batch]:
        """Yield the batches since then. Raises OSError if the file is damaged."""
        with self.telling_damage():
            query = "SELECT number, batch, checksum FROM log WHERE number > ? ORDER BY number"
            for number, batch, checksum in self.database.execute(query, (self.number,)):
                if number != self.number + 1:
                    raise ValueError(f"batch {self.number + 1} is missing")
                self.number = number
                self.size += len(batch)
                yield msgspec.msgpack.decode(checked(batch, checksum), type=Batch)

    @contextmanager
    def telling_damage(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError, LookupError) as problem:
            raise OSError(
                f"cannot keep messages in {self.path}: the file is damaged: {problem}"
            ) from None

    # Writing

    def begin_snapshot(self) -> None:
        """The pieces that come next are of a snapshot of the broker as it is now."""
        self.snapshot_number, self.size = self.number, 0

    def append(self, batch: Batch | None, pieces: Sequence[Any] = (), ends: bool = False) -> None:
        """Store a batch, and with it some pieces of a snapshot, which counts once it `ends`. When
        this returns, they survive a crash. Raises sqlite3.Error or OSError: then nothing of it is
        stored."""
        self.still_there()
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            if batch is not None:
                data = msgspec.msgpack.encode(batch)
                self.database.execute(
                    "INSERT INTO log VALUES (?, ?, ?)", (self.number + 1, data, zlib.crc32(data))
                )
            if pieces:
                row = encode(pieces)
                columns = "snapshot (number, pieces, checksum)"
                values = self.snapshot_number, row, zlib.crc32(row)
                self.database.execute(f"INSERT INTO {columns} VALUES (?, ?, ?)", values)
            if ends:
                self.database.execute("UPDATE complete SET number = ?", (self.snapshot_number,))
            swept = self.sweep() if not self.swept else not ends
        if batch is not None:
            self.number += 1
            self.size += len(data)
        self.swept = swept

    def sweep(self) -> bool:
        """Delete some of what the last complete snapshot has replaced; returns whether that was
        all."""
        (complete,) = self.database.execute("SELECT number FROM complete").fetchone()
        old = f"SELECT number FROM log WHERE number <= ? ORDER BY number LIMIT {SWEEP_BATCHES}"
        batches = self.database.execute(
            f"DELETE FROM log WHERE number IN ({old})", (complete,)
        ).rowcount
        old = f"SELECT id FROM snapshot WHERE number < ? ORDER BY id LIMIT {SWEEP_PIECES}"
        pieces = self.database.execute(
            f"DELETE FROM snapshot WHERE id IN ({old})", (complete,)
        ).rowcount
        return batches + pieces == 0

    def still_there(self) -> None:
        """Raise OSError if the file was removed or replaced: what is written to it would be
        lost."""
        if self.identity() != self.file:
            raise OSError("the file was replaced")

    def identity(self) -> tuple[int, int]:
        status = os.stat(self.path)
        return status.st_dev, status.st_ino

    def close(self) -> None:
        if hasattr(self, "database"):
            self.database.close()


def checked(data: bytes, checksum: int) -> bytes:
    if zlib.crc32(data) != checksum:
        raise ValueError("a row is not as it was written")
    return data


def encode(pieces: Sequence[Any]) -> bytes:
    try:
        return msgspec.json.encode(pieces)
    except UnicodeEncodeError:  # half a surrogate pair: Python's own encoder escapes it
        return json.dumps(msgspec.to_builtins(pieces)).encode()


def decode(data: bytes, types: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=types)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return msgspec.convert(json.loads(data), types)
