"""Assistant: stand-in for the AI hotel assistant; its answers depend on its SQLite file and on the version that is checked out."""

import re
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from tests.standins.core import Answer, Sample, StandIn, asked, serve

OLD = "SELECT count(*) FROM chat_logs WHERE timestamp < date('now', '-30 days')"
SECONDS_A_ROW = 0.02  # that each old row costs a question


class Assistant(StandIn):
    """`hung` and `locked` at an instant: whatever was started before does not answer;

    `quota` used up until an instant; `breach` seen by a detector."""

    routes: ClassVar = {"/health": "alive", "/health/database": "database", "/health/ai": "ai"}

    def __init__(self, home: Path) -> None:
        """Start the version that is checked out."""
        super().__init__(home)
        self.version = Path(self.parts["code"], "VERSION").read_text(encoding="utf-8").strip()

    def alive(self, method: str, path: str) -> Answer:
        """Say that it lives, unless it hangs or this version cannot."""
        if self.version == "bad" or self.started_at < self.fault("hung"):
            return 503, {"status": "unhealthy"}
        return 200, {"status": "healthy", "version": self.version}

    def database(self, method: str, path: str) -> Answer:
        """Ask the database; a question takes the longer the more old rows there are."""
        if self.started_at < self.fault("locked"):
            return 503, {"error": "database is locked"}
        try:
            with closing(sqlite3.connect(f"file:{self.parts['database']}?mode=ro", uri=True)) as base:
                (old,) = base.execute(OLD).fetchone()
        except sqlite3.Error as error:
            return 503, {"error": str(error)}
        return 200, {"status": "healthy", "took": 0.01 + SECONDS_A_ROW * old}

    def ai(self, method: str, path: str) -> Answer:
        """Ask the AI service."""
        away = time.time() < self.fault("quota")
        return (429, {"error": "quota"}) if away else (200, {"status": "healthy"})

    def exported(self, job: str) -> Iterable[Sample]:
        """Say what the blackbox exporter and the node exporter's text files say."""
        status, *_ = asked(f"{self.parts['url']}/health")
        yield "probe_success", {"check": "health"}, status == 200
        status, text, _ = asked(f"{self.parts['url']}/health/database")
        yield "probe_success", {"check": "database"}, status == 200
        yield "probe_failed_due_to_regex", {"check": "locked"}, "locked" in text
        took = re.search(r'"took": ([\d.]+)', text)
        yield "probe_duration_seconds", {"check": "database"}, float(took[1]) if took else 0.01
        status, *_ = asked(f"{self.parts['url']}/health/ai")
        yield "probe_success", {"check": "ai"}, status == 200
        yield "probe_http_status_code", {"check": "ai"}, status
        yield "hotel_database_corrupt", {}, not self._whole()
        yield "hotel_security_breach", {}, self.fault("breach")
        yield "hotel_backup_timestamp_seconds", {}, time.time()
        yield "node_textfile_mtime_seconds", {"file": "/var/lib/hotel-assistant.prom"}, time.time()

    def _whole(self) -> bool:
        try:
            with closing(sqlite3.connect(f"file:{self.parts['database']}?mode=ro", uri=True)) as base:
                found = base.execute("PRAGMA quick_check").fetchall()
        except sqlite3.Error:
            return False
        return bool(found == [("ok",)])


if __name__ == "__main__":
    serve(Assistant)
