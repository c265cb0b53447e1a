"""Hotel Assistant: a SQLite file, a shelf of copies, and a git work tree whose version the app runs."""

import sqlite3
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from types import SimpleNamespace

from tests.copying import copied
from tests.e2e.packs.case import Case
from tests.e2e.packs.system import System

OLD_ROWS = 400  # of which a question takes eight seconds
SCHEMA = """
CREATE TABLE chat_logs (id INTEGER PRIMARY KEY, timestamp TEXT, text TEXT);
CREATE TABLE tool_calls (id INTEGER PRIMARY KEY, created_at TEXT, name TEXT);
CREATE TABLE bookings (id INTEGER PRIMARY KEY, guest TEXT);
INSERT INTO chat_logs (timestamp, text) VALUES (date('now'), 'a room, please');
INSERT INTO tool_calls (created_at, name) VALUES (date('now'), 'availability');
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO bookings (guest) SELECT 'guest ' || i FROM n;
"""


class HotelAssistant(System):
    """The assistant."""

    pack = "hotel-assistant"
    standin = "assistant"
    jobs = ("hotel-assistant-blackbox",)
    beside = True
    pending = "2s"

    @property
    def vars(self) -> Mapping[str, str]:
        """Lead the pack to the parts."""
        return {
            "app": self.app,
            "frontend": f"supervisor://{self.supervised.socket}#frontend",
            "url": self.url,
            "database": f"sqlite://{self.database}",
            "backups": str(self.home / "backups"),
            "aside": str(self.home / "aside"),
            "code": f"git://{self.code}",
            "min_free": "1MB",
            "within": "5s",
        }

    async def lay_out(self) -> None:
        """Fill the database, copy it, and release a version that is good."""
        self.database, self.code = self.home / "hotel.db", self.home / "code"
        self.run(SCHEMA)
        await copied(SimpleNamespace(locator=f"sqlite://{self.database}", password={}), self.home / "backups")
        self.code.mkdir()
        self.git("init", "-q", "-b", "main")
        self.release("good")
        self.parts |= {"database": str(self.database), "code": str(self.code)}

    def run(self, script: str) -> None:
        """Run SQL in the database."""
        with closing(sqlite3.connect(self.database)) as base:
            base.executescript(script)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Ask the database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as base:
            return base.execute(query).fetchall()

    def git(self, *words: str) -> str:
        """Run git in the work tree."""
        who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
        return subprocess.run(
            ["git", "-C", str(self.code), *who, *words],
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        ).stdout.strip()

    def release(self, version: str) -> None:
        """Commit a version."""
        (self.code / "VERSION").write_text(f"{version}\n")
        self.git("add", "VERSION")
        self.git("commit", "-q", "-m", version)

    def version(self) -> str:
        """Return the version that is checked out."""
        return (self.code / "VERSION").read_text().strip()

    def copies(self) -> list[str]:
        """Return what was put aside."""
        return sorted(path.name.partition("-")[0] for path in (self.home / "aside").glob("*.json"))

    async def state(self) -> dict[str, object]:
        """Say how the parts are."""
        return {
            **await super().state(),
            "bookings": self.rows("SELECT * FROM bookings"),
            "chats": self.rows("SELECT * FROM chat_logs"),
            "whole": self.rows("PRAGMA integrity_check"),
            "version": self.version(),
        }

    async def deploys_a_bad_version(self) -> None:
        """Release what cannot answer, and start it."""
        self.release("bad")
        await self.supervised.restart("app")

    def is_damaged(self) -> None:
        """Overwrite the middle of the database."""
        size = self.database.stat().st_size
        with self.database.open("r+b") as file:
            file.seek(size // 2 // 4096 * 4096)
            file.write(b"\xff" * 8192)


def _is_slow(system: HotelAssistant) -> None:
    system.run(
        f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {OLD_ROWS})
        INSERT INTO chat_logs (timestamp, text) SELECT date('now', '-40 days'), 'old' FROM n;"""
    )


def _rows_are_gone(system: HotelAssistant) -> None:
    assert system.rows("SELECT text FROM chat_logs") == [("a room, please",)]


async def _is_shut(system: HotelAssistant) -> None:
    assert "app" not in await system.pids()
    assert "breach" in system.copies()


def _copy_is_back(system: HotelAssistant) -> None:
    assert system.rows("PRAGMA integrity_check") == [("ok",)]
    assert "corrupted" in system.copies()


def _is_good_again(system: HotelAssistant) -> None:
    assert system.version() == "good"


async def _guests_are_answered(system: HotelAssistant) -> None:
    assert "app" in await system.pids()


YES = {"approval": "approve", "manual": "done"}
CASES = (
    Case(
        "hotel-assistant",
        "database-corruption",
        "service-backup-restore",
        steps=("service", "backup", "restore", "service"),
        begin=HotelAssistant.is_damaged,
        held=_copy_is_back,
        outcome="kept",
        answers=YES,
        told={"oncall", "system-owner", "stakeholders"},
    ),
    Case(
        "hotel-assistant",
        "degraded-performance",
        "sql",
        steps=("backup", "sql", "sql", "sql"),
        begin=_is_slow,
        held=_rows_are_gone,
        told={"oncall"},
    ),
    Case(
        "hotel-assistant",
        "ai-rate-limited",
        "wait",
        steps=("wait",),
        begin=lambda system: system.breaks(quota=time.time() + 5),
        held=_guests_are_answered,
        told={"oncall"},
    ),
    Case(
        "hotel-assistant",
        "outage",
        "restart-rollback",
        steps=("restart", "rollback", "restart"),
        begin=HotelAssistant.deploys_a_bad_version,
        held=_is_good_again,
        outcome="kept",
        answers=YES,
        differs={"version"},
        told={"oncall", "system-owner", "stakeholders"},
    ),
    Case(
        "hotel-assistant",
        "security-breach",
        "service-manual",
        steps=("service", "backup", "manual"),
        begin=lambda system: system.breaks(breach=1),
        held=_is_shut,
        end=lambda system: system.breaks(breach=0),
        answers=YES,
        told={"security-team", "system-owner", "stakeholders"},
    ),
)
