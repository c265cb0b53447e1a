"""The book sees a damaged database, reads what a dead writer left in the log, and leaves both as they are."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.crash.book import SqliteBook

WRITES_AND_DIES = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE brake (scope TEXT)")
db.executemany("INSERT INTO brake VALUES (?)", [("x" * 100,)] * 500)
db.execute("CREATE INDEX ix ON brake (scope)")
db.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def left_by_a_dead_writer(folder: Path) -> SqliteBook:
    (folder / "data").mkdir()
    path = folder / "data" / "stopgap.db"
    subprocess.run([sys.executable, "-c", WRITES_AND_DIES, path], check=False)
    return SqliteBook(path)


def test_what_a_dead_writer_committed_is_read_from_a_copy(tmp_path):
    book = left_by_a_dead_writer(tmp_path)
    before = {each.name: each.stat().st_mtime_ns for each in (tmp_path / "data").iterdir()}
    assert "stopgap.db-wal" in before
    with book.frozen() as copy:
        assert copy.rows("SELECT count(*) FROM brake") == [(500,)]
        assert copy.damage() == ""
    assert {each.name: each.stat().st_mtime_ns for each in (tmp_path / "data").iterdir()} == before


def test_a_damaged_page_is_seen(tmp_path):
    book = left_by_a_dead_writer(tmp_path)
    with closing(sqlite3.connect(book.path)) as db, db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    body = bytearray(book.path.read_bytes())
    body[-4096:] = b"\x05" * 4096
    book.path.write_bytes(body)
    assert book.damage()
