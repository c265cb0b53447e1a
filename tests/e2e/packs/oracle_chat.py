"""Oracle Chat: flags of an env file, a SQLite file, a git work tree, and programs that leave a trace of how they were called."""

import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tests.e2e.packs.case import Case
from tests.e2e.packs.system import System

ENV = """\
# Oracle Chat AI: read at start
USE_PERSISTENT_SESSIONS=true
GRADUAL_ROLLOUT_PERCENTAGE=100   # all of them
MAX_PERSISTENT_SESSIONS="500"

PERSISTENT_SESSION_TIMEOUT=7200
CLEANUP_INTERVAL=300
GEMINI_API_KEY='not a secret'
LOG_LEVEL=DEBUG
"""


class OracleChat(System):
    """The chat."""

    pack = "oracle-chat"
    standin = "oracle"
    jobs = ("oracle-chat-gemini", "oracle-chat-health", "oracle-chat-json")
    pending = "2s"
    env_text = ENV

    @property
    def vars(self) -> Mapping[str, str]:
        """Lead the pack to the parts."""
        return {
            "app": self.app,
            "url": self.url,
            "config": f"env://{self.env_path}",
            "config_file": f"file://{self.env_path}",
            "source": f"git://{self.code}",
            "backend": str(self.code / "backend"),
            "frontend": str(self.code / "frontend"),
            "database": f"sqlite://{self.database}",
            "database_file": str(self.database),
            "backups": str(self.home / "backups"),
            "kept": str(self.home / "kept"),
            "diagnostics": str(self.tool("diagnostics")),
            "uv": str(self.tool("uv")),
            "npm": str(self.tool("npm")),
            "good_version": "v1.1.0",
            "good_version_shown": "1.1.0",
            "min_free": "1MB",
            "memory_hold": "1s",
            "stability": "1s",
        }

    @property
    def database(self) -> Path:
        return self.home / "oracle_sessions.db"

    @property
    def code(self) -> Path:
        return self.home / "code"

    def tool(self, name: str) -> Path:
        """Return the path of a program that writes down what it is asked to do."""
        return self.home / "tools" / name

    async def lay_out(self) -> None:
        """Fill the database, release two versions, and install the programs."""
        with closing(sqlite3.connect(self.database)) as base:
            base.executescript(
                "CREATE TABLE sessions (id INTEGER PRIMARY KEY); CREATE TABLE messages (id INTEGER PRIMARY KEY);"
                "INSERT INTO sessions VALUES (1), (2)"
            )
        for name in ("diagnostics", "uv", "npm"):
            path = self.tool(name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\necho "{name} $@" >> {self.home}/asked\n')
            path.chmod(0o755)
        for part in ("backend", "frontend"):
            (self.code / part).mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        for version in ("1.1.0", "1.2.0"):
            (self.code / "VERSION").write_text(f"{version}\n")
            self.git("add", "VERSION")
            self.git("commit", "-q", "-m", version)
            self.git("tag", f"v{version}")
        self.parts |= {"database": str(self.database), "code": str(self.code)}

    def git(self, *words: str) -> None:
        """Run git in the work tree."""
        who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
        subprocess.run(
            ["git", "-C", str(self.code), *who, *words], check=True, capture_output=True, timeout=20
        )

    def asked(self) -> list[str]:
        """Return what the programs were asked to do."""
        path = self.home / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def kept(self) -> set[str]:
        """Return of what copies were made."""
        return {path.name.split("-")[0] for path in (self.home / "kept").glob("*.json")}

    async def state(self) -> dict[str, object]:
        """Say how the parts are."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as base:
            sessions = base.execute("SELECT * FROM sessions").fetchall()
        version = (self.code / "VERSION").read_text().strip()
        return {**await super().state(), "sessions": sessions, "version": version}


def _sessions_are_off(system: OracleChat) -> None:
    env = system.env()
    assert (env["USE_PERSISTENT_SESSIONS"], env["GRADUAL_ROLLOUT_PERCENTAGE"].split()[0]) == ("false", "0")
    assert "diagnostics --incident-type=session_failure" in system.asked()


def _sessions_are_few(system: OracleChat) -> None:
    env = system.env()
    flags = ("MAX_PERSISTENT_SESSIONS", "PERSISTENT_SESSION_TIMEOUT", "CLEANUP_INTERVAL")
    assert [env[flag].strip('"') for flag in flags] == ["50", "300", "60"]
    assert len((system.home / "cleanups").read_text().splitlines()) == 1


def _features_are_off(system: OracleChat) -> None:
    assert system.env()["USE_PERSISTENT_SESSIONS"] == "false"
    assert "env" in system.kept()


def _older_version_runs(system: OracleChat) -> None:
    assert [line for line in system.asked() if not line.startswith("diagnostics")] == [
        f"uv sync --quiet --directory {system.code}/backend",
        f"npm --prefix {system.code}/frontend ci --silent",
        f"npm --prefix {system.code}/frontend run build --silent",
    ]
    assert system.kept() >= {"oracle_sessions", "env"}


EVERYBODY = {"incident-commander", "tech-lead", "operations", "engineering-manager"}
CASES = (
    Case(
        "oracle-chat",
        "session-failure",
        "exec-flag",
        steps=("exec", "flag", "restart"),
        begin=lambda system: system.breaks(gemini=1),
        held=_sessions_are_off,
        end=lambda system: system.breaks(gemini=0),
        told=EVERYBODY | {"users"},
    ),
    Case(
        "oracle-chat",
        "memory-crisis",
        "flag-http",
        steps=("exec", "flag", "http", "restart"),
        begin=lambda system: system.breaks(opened=100),
        held=_sessions_are_few,
        end=lambda system: system.breaks(opened=1),
        told=EVERYBODY | {"users"},
    ),
    Case(
        "oracle-chat",
        "version-rollback",
        "backup-rollback-exec",
        steps=("backup", "backup", "rollback", "exec", "exec", "exec", "restart"),
        begin=lambda system: system.asks_for("OracleChatVersionRollbackRequested"),
        held=_older_version_runs,
        end=lambda system: system.asks_for("OracleChatVersionRollbackRequested", over=True),
        outcome="kept",
        differs={"version"},
        answers={"approval": "approve"},
        told={"incident-commander", "tech-lead", "operations"},
    ),
)
