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
from contextlib import contextmanager, suppress

import msgspec

from stages.beyond.broker import Batch
from stages.beyond.broker.topic import Piece, PieceTypes

FORMAT = 2
"""Of the file; format 1 had a row for each message. A log is carried out again by the rules, so
this must change, too, whenever a rule changes what the same batches lead to."""

SCHEMA = f"""
CREATE TABLE log (number INTEGER PRIMARY KEY, batch BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL, pieces BLOB NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE complete (number INTEGER NOT NULL, rows INTEGER NOT NULL, checksum INTEGER NOT NULL);
INSERT INTO complete VALUES (0, 0, {zlib.crc32(b"0 0")});
PRAGMA user_version = {FORMAT};
"""

SWEEP_BATCHES, SWEEP_PIECES = 100, 10
"""How many old rows a commit deletes at most: to delete all at once would take its time."""


class Log:
    """The file `path`, for one process at a time. `append` and `sweep` may be called in another
    thread, one at a time."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)  # SQLite's own files are beside it, not beside a link
        self.files: list[tuple[int, int]] = []  # those that we have written to
        self.number = 0  # of the last batch
        self.snapshot_number = 0  # of the last one before the snapshot that is under way
        self.snapshot_rows = 0
        self.size = 0  # of the batches since the last snapshot was begun, in bytes
        self.swept = False  # a crash may have come between

    def open(self) -> None:
        """Open the file, or make a new one. Raises OSError, in one line that says why, if it cannot
        be used."""
        try:
            self.database = self.connect()
            try:
                self.prepare()
            except BaseException:
                self.close()
                raise
        except (sqlite3.Error, ValueError) as problem:
            reason = "another process uses it" if "locked" in str(problem) else problem
            raise OSError(f"cannot keep messages in {self.path}: {reason}") from None

    def connect(self) -> sqlite3.Connection:
        with suppress(OSError):  # SQLite says it better
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # for its owner alone
        return sqlite3.connect(self.path, timeout=1, isolation_level=None, check_same_thread=False)

    def prepare(self) -> None:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self.database.execute(f"PRAGMA {pragma}")
        self.check_format()
        # What was recovered may be in the system's cache alone, if an fsync has failed: write it
        # anew, before anything is answered that stands on it.
        self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def check_format(self) -> None:
        """Make the tables, if there are none."""
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

    def load(self, types: PieceTypes) -> Iterator[Piece]:
        """Yield the pieces of the last complete snapshot. Raises OSError if the file is damaged."""
        with self.telling_damage():
            query = "SELECT number, rows, checksum FROM complete"
            self.number, expected, checksum = self.database.execute(query).fetchone()
            checked(b"%d %d" % (self.number, expected), checksum)
            query = "SELECT pieces, checksum FROM snapshot WHERE number = ? ORDER BY id"
            rows = 0
            for pieces, checksum in self.database.execute(query, (self.number,)):
                rows += 1
                yield from decode(checked(pieces, checksum), types)
            if rows != expected:
                raise ValueError(f"the snapshot has {rows} rows of {expected}")

    def read(self) -> Iterator[Batch]:
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
        self.snapshot_number, self.snapshot_rows, self.size = self.number, 0, 0

    def append(self, batch: Batch | None, pieces: Sequence[bytes] = (), ends: bool = False) -> None:
        """Store a batch, and with it some pieces of a snapshot, which counts once its last ones
        (`ends`) are stored. When this returns, they survive a crash. Raises OSError: nothing is
        stored then."""
        self.still_there()
        try:
            with self.database:
                self.database.execute("BEGIN IMMEDIATE")
                size = self.insert_batch(batch) if batch else 0
                self.insert_pieces(pieces)
                swept = self.swept or self.sweep()
                if ends:
                    self.complete_snapshot()
        except sqlite3.Error as problem:
            raise OSError(str(problem)) from None
        self.files = self.files or self.identity()
        self.number += batch is not None
        self.size += size
        self.swept = swept and not ends

    def insert_batch(self, batch: Batch) -> int:
        data = msgspec.msgpack.encode(batch)
        row = self.number + 1, data, zlib.crc32(data)
        self.database.execute("INSERT INTO log VALUES (?, ?, ?)", row)
        return len(data)

    def insert_pieces(self, pieces: Sequence[bytes]) -> None:
        if pieces:
            data = b"[%s]" % b",".join(pieces)
            row = self.snapshot_number, data, zlib.crc32(data)
            query = "INSERT INTO snapshot (number, pieces, checksum) VALUES (?, ?, ?)"
            self.database.execute(query, row)
            self.snapshot_rows += 1

    def complete_snapshot(self) -> None:
        number, rows = self.snapshot_number, self.snapshot_rows
        row = number, rows, zlib.crc32(b"%d %d" % (number, rows))
        self.database.execute("UPDATE complete SET number = ?, rows = ?, checksum = ?", row)

    def sweep(self) -> bool:
        """Delete some of what the last complete snapshot has replaced, or of one that was never
        completed; returns whether nothing was left."""
        (complete,) = self.database.execute("SELECT number FROM complete").fetchone()
        old = f"SELECT number FROM log WHERE number <= ? ORDER BY number LIMIT {SWEEP_BATCHES}"
        query = f"DELETE FROM log WHERE number IN ({old})"
        batches = self.database.execute(query, (complete,)).rowcount
        old = f"SELECT id FROM snapshot WHERE number NOT IN (?, ?) ORDER BY id LIMIT {SWEEP_PIECES}"
        query = f"DELETE FROM snapshot WHERE id IN ({old})"
        pieces = self.database.execute(query, (complete, self.snapshot_number)).rowcount
        return batches + pieces == 0

    def still_there(self) -> None:
        """Raise OSError if the file, or SQLite's own log beside it, was removed or replaced: what
        is written to it would be lost."""
        if self.files and self.identity() != self.files:
            raise OSError("the file was replaced")

    def identity(self) -> list[tuple[int, int]]:
        files = [os.stat(path) for path in (self.path, f"{self.path}-wal")]
        return [(status.st_dev, status.st_ino) for status in files]

    def close(self) -> None:
        self.database.close()


def checked(data: bytes, checksum: int) -> bytes:
    if zlib.crc32(data) != checksum:
        raise ValueError("a row is not as it was written")
    return data


def encode(piece: Piece) -> bytes:
    """Turn a piece of a snapshot into what `append` takes."""
    try:
        return msgspec.json.encode(piece)
    except UnicodeEncodeError:  # half a surrogate pair: Python's own encoder escapes it
        return json.dumps(msgspec.to_builtins(piece)).encode()


def decode(pieces: bytes, types: PieceTypes) -> list[Piece]:
    """Turn pieces of these types back, from an array of JSON."""
    found: list[Piece]
    try:
        found = msgspec.json.decode(pieces, type=list[types])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        found = msgspec.convert(json.loads(pieces), list[types], str_keys=True)  # type: ignore[valid-type]
    return found
