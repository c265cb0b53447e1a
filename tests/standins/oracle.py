"""Oracle: stand-in for the chat with persistent sessions; its flags are of its `.env`, its version of a git work tree."""

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from tests.standins.core import Answer, Growth, Sample, StandIn, asked, serve, told

CHATS = 40  # requests a second
DETAILED = "/api/v1/monitoring/health/detailed"


class Oracle(StandIn):
    """`gemini` away: sessions fail; `errors` per cent fail while they are on; `opened` sessions a second; `hung` at an instant."""

    routes: ClassVar = {
        "/health": "health",
        DETAILED: "detailed",
        "/api/v1/sessions/cleanup/emergency": "clean_up",
        "/api/v1/sessions/": "sessions",
    }

    def __init__(self, home: Path) -> None:
        """Start the version that is checked out."""
        super().__init__(home)
        self.version = Path(self.parts["code"], "VERSION").read_text(encoding="utf-8").strip()
        self._well, self._failed, self._opened = Growth(), Growth(), Growth()

    @property
    def hangs(self) -> bool:
        """Tell whether it was started before what only a restart heals."""
        return self.started_at < self.fault("hung")

    def health(self, method: str, path: str) -> Answer:
        """Say how it is."""
        on = "failing" if self.fault("gemini") else "enabled"
        return (503 if self.hangs else 200), {
            "status": "unhealthy" if self.hangs else "healthy",
            "version": self.version,
            "services": {"persistent_sessions": on if self.is_on("USE_PERSISTENT_SESSIONS") else "disabled"},
        }

    def detailed(self, method: str, path: str) -> Answer:
        """Say how its parts are."""
        return 200, {
            "database": {"status": self.database()},
            "system": {"memory_usage_percent": self.memory()},
        }

    def clean_up(self, method: str, path: str) -> Answer:
        """Drop idle sessions; leaves a trace that they were."""
        if method != "POST":
            return 405, {}
        with Path(self.home, "cleanups").open("a", encoding="utf-8") as trace:
            trace.write(f"{time.time()}\n")
        return 200, {"cleaned": True}

    def sessions(self, method: str, path: str) -> Answer:
        """List sessions."""
        return (503 if self.hangs else 200), []

    def database(self) -> str:
        """Ask SQLite."""
        try:
            with closing(sqlite3.connect(f"file:{self.parts['database']}?mode=ro", uri=True)) as base:
                return "healthy" if base.execute("PRAGMA quick_check").fetchall() == [("ok",)] else "corrupt"
        except sqlite3.Error:
            return "corrupt"

    def memory(self) -> float:
        """Return the per cent in use: each session takes some, up to the limit of them."""
        limit = float(self.env["MAX_PERSISTENT_SESSIONS"]) if self.is_on("USE_PERSISTENT_SESSIONS") else 0
        return 48 + min(limit, 6 * self.fault("opened", 1)) / 10

    def measured(self) -> Iterable[Sample]:
        """Count requests."""
        failing = self.fault("errors") / 100 if self.is_on("USE_PERSISTENT_SESSIONS") else 0.0
        chat = {"method": "POST", "handler": "/api/v1/chat/"}
        yield "http_requests_total", {**chat, "status": "200"}, self._well.by(CHATS * (1 - failing))
        yield "http_requests_total", {**chat, "status": "500"}, self._failed.by(CHATS * failing)
        opening = {"method": "POST", "handler": "/api/v1/sessions/", "status": "201"}
        yield "http_requests_total", opening, self._opened.by(self.fault("opened", 1))

    def exported(self, job: str) -> Iterable[Sample]:
        """Say what the JSON and the blackbox exporter say."""
        if job == "oracle-chat-gemini":
            yield "probe_success", {}, not self.fault("gemini")
        elif job == "oracle-chat-health":
            yield "probe_success", {}, asked(f"{self.parts['url']}/health")[0] in {200, 503}
        elif job == "oracle-chat-json":
            yield from self._json()

    def _json(self) -> Iterable[Sample]:
        status, health, _ = told(f"{self.parts['url']}/health")
        if status:
            labels = {"status": health["status"], "version": health["version"], **health["services"]}
            yield "oracle_chat_health_info", labels, 1
        status, parts, _ = told(f"{self.parts['url']}{DETAILED}")
        if status:
            yield "oracle_chat_memory_usage_percent", {}, parts["system"]["memory_usage_percent"]
            yield "oracle_chat_database_info", parts["database"], 1
            yield "oracle_chat_send_message_avg_ms", {}, 300
            yield "oracle_chat_cache_hit_percent", {}, 90


if __name__ == "__main__":
    serve(Oracle)
