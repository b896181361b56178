"""The log's file: all of a batch or nothing, and no silence about damage."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stages.beyond import acks
from stages.beyond.broker import Batch
from stages.beyond.broker.in_flight import Worker, WorkPiece
from stages.beyond.log.file import Log, decode, encode

BATCH = Batch(1.0, [(1, b'{"command": "subscribe", "topic": "foo"}')])


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "messages.db")


@pytest.fixture
def log(path: str) -> Iterator[Log]:
    with closing(Log(path)) as log:
        log.open()
        list(log.load(acks.Broker.pieces))
        yield log


def reopened(path: str) -> tuple[Log, list[Batch]]:
    with closing(Log(path)) as log:
        log.open()
        list(log.load(acks.Broker.pieces))
        return log, list(log.read())


def test_what_was_appended_is_there_again_in_order(path: str, log: Log) -> None:
    batches = [Batch(float(n), [(n, None)]) for n in range(3)]
    for batch in batches:
        log.append(batch)
    size = log.size
    log.close()
    again, found = reopened(path)
    assert found == batches
    assert (again.number, again.size) == (3, size)


def test_a_batch_that_cannot_be_stored_whole_is_not_stored_at_all(path: str, log: Log) -> None:
    log.append(BATCH)
    log.begin_snapshot()
    with pytest.raises(TypeError):
        log.append(BATCH, [object()])  # type: ignore[list-item]
    log.close()
    assert reopened(path)[1] == [BATCH]


def test_what_a_crash_has_left_in_sqlites_log_is_written_anew_when_it_is_opened(
    path: str, log: Log, tmp_path: Path
) -> None:
    """After a failed fsync the system may hold as written what the disk does not have."""
    log.append(BATCH)
    for beside in ("", "-wal"):
        shutil.copy(path + beside, tmp_path / f"crashed{beside}")
    with closing(Log(str(tmp_path / "crashed"))) as again:
        assert (tmp_path / "crashed-wal").stat().st_size > 0
        again.open()
        assert (tmp_path / "crashed-wal").stat().st_size == 0
        shutil.copy(again.path, tmp_path / "alone")
    assert reopened(str(tmp_path / "alone"))[1] == [BATCH]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_files_are_for_their_owner_alone(path: str, log: Log) -> None:
    log.append(BATCH)
    files = list(Path(path).parent.glob("messages.db*"))
    assert len(files) >= 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.skipif(os.name == "nt", reason="not everybody may make links there")
def test_the_path_may_be_a_link_to_a_file_elsewhere_also_before_that_is_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "volume").mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "volume" / "real.db")
    for count in range(3):
        with closing(Log(str(link))) as log:
            log.open()
            list(log.load(acks.Broker.pieces))
            assert list(log.read()) == [BATCH] * 2 * count
            log.append(BATCH)
            log.append(BATCH)  # it looks whether the file is still there
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.db", "volume"]


@pytest.mark.parametrize("beside", ["", "-wal"])
def test_a_file_that_was_replaced_is_noticed_before_anything_is_lost(
    path: str, log: Log, beside: str
) -> None:
    log.append(BATCH)
    os.replace(path + beside, f"{path}.moved")
    with pytest.raises(OSError, match="No such file"):
        log.append(BATCH)
    Path(path + beside).write_bytes(b"")
    with pytest.raises(OSError, match="the file was replaced"):
        log.append(BATCH)


@pytest.mark.slow
def test_a_file_is_for_one_process_at_a_time(path: str, log: Log) -> None:
    with pytest.raises(OSError, match=r"cannot keep messages in .*: another process uses it"):
        Log(path).open()


def test_a_file_that_is_refused_is_closed(path: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE of_others (x)")
    refused = Log(path)
    with pytest.raises(OSError, match="it has format 0"):
        refused.open()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        refused.database.execute("SELECT 1")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE complete SET checksum = checksum + 1",
        "UPDATE complete SET rows = rows + 1",
        "UPDATE log SET checksum = checksum + 1 WHERE number = 2",
        "UPDATE log SET batch = x'00' WHERE number = 2",
        "DELETE FROM log WHERE number = 1",
    ],
)
def test_damage_is_told(path: str, log: Log, change: str) -> None:
    for _ in range(3):
        log.append(BATCH)
    log.close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(change)
    with pytest.raises(OSError, match=r"cannot keep messages in .*: the file is damaged: "):
        reopened(path)


def test_after_a_snapshot_the_log_begins_anew(path: str, log: Log) -> None:
    broker = acks.Broker()
    for _ in range(3):
        log.append(BATCH)
        broker.carry_out(BATCH)
    log.begin_snapshot()
    assert log.size == 0
    pieces = [encode(piece) for piece in broker.snapshot()]
    log.append(BATCH, pieces, True)
    log.close()
    with closing(Log(path)) as again:
        again.open()
        copy = acks.Broker()
        for piece in again.load(acks.Broker.pieces):
            copy.restore(piece)
        assert list(again.read()) == [BATCH]
    assert list(copy.topics["foo"].subscribers.clients) == [1]


def test_what_a_snapshot_has_replaced_is_deleted_also_after_a_restart(
    path: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.beyond.log.file.SWEEP_BATCHES", 1)
    monkeypatch.setattr("stages.beyond.log.file.SWEEP_PIECES", 1)
    for _ in range(2):
        for _ in range(3):
            log.append(BATCH)
        log.begin_snapshot()
        log.append(None, [b'"piece"'])
        log.append(None, [b'"piece"'], True)
    assert log.size == 0
    log.close()
    with closing(Log(path)) as again:
        again.open()
        while not again.swept:
            again.append(None)
        for table, rows in (("log", 0), ("snapshot", 2)):
            assert again.database.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,)


def test_a_piece_with_half_a_character_is_read_as_it_was_written() -> None:
    piece = WorkPiece("half a pair \ud800", {1: Worker()}, [1], {7: [1]}, None)
    assert decode(b"[%s]" % encode(piece), WorkPiece) == [piece]
