"""BookGen: a real PostgreSQL, a small disk, an env file, and a Compose project (its double)."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tests.disks import small_disk
from tests.doubles.installed import container
from tests.e2e.packs.case import Case
from tests.e2e.packs.system import System
from tests.servers import PASSWORD, running_postgres

DAY = 24 * 3600
ROOM = 4 * 1024 * 1024  # bytes on the disk
LABEL = "com.docker.compose.service"
SHOWN = "CREATE OR REPLACE FUNCTION shown(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT {}($1)'"
SCHEMA = (
    "CREATE TABLE biography_jobs (job_id int PRIMARY KEY, status text, error_message text, created_at timestamptz)",
    SHOWN.format("upper"),
    "CREATE INDEX jobs_status ON biography_jobs (shown(status))",
    "INSERT INTO biography_jobs SELECT n, 'completed', NULL, now() FROM generate_series(100, 110) n",
    "CREATE EXTENSION amcheck",
)
CHECKS = (
    "bt_index_check(regclass, boolean)",
    "bt_index_check(regclass)",
    "verify_heapam(regclass, boolean, boolean, text, bigint, bigint)",
)


def _amcheck() -> Path:
    """Return PostgreSQL's own program."""
    return max(Path("/usr/lib/postgresql").glob("*/bin/pg_amcheck"))


class BookGen(System):
    """The books."""

    pack = "bookgen"
    standin = "bookgen"
    jobs = ("bookgen-blackbox", "bookgen-postgres", "bookgen-celery", "bookgen-node")
    lasting = "9s"  # commands of docker and PostgreSQL take their time
    env_text = "BATCH_SIZE_CHAPTERS=5\nMAX_CONCURRENT_JOBS=4\nSECRET_KEY='not a secret'\n"

    @property
    def vars(self) -> Mapping[str, str]:
        """Lead the pack to the parts."""
        folders = {name: str(self.disk / name) for name in ("logs", "bios", "docx", "backups")}
        return {
            **folders,
            "url": self.url,
            "config": f"env://{self.env_path}",
            "config_file": str(self.env_path),
            "compose_file": f"{self.compose}/compose.yml",
            "database": self.base.locator,
            "copies": str(self.home / "copies"),
            "database_host": "127.0.0.1",
            "database_port": str(self.base.server.port),
            "database_name": self.base.name,
            "database_role": self.base.user,
            "pg_amcheck": str(_amcheck()),
            "room": "1MB",
            "sync": "true",
            "sysctl": "true",
            "external": str(self.home),
            "archive": str(self.home / "archive"),
            "worker_ready": "200ms",
        }

    async def lay_out(self) -> None:
        """Run PostgreSQL and three containers, and mount the disk."""
        self.base = self.stack.enter_context(running_postgres()).database()
        self.base.run(*SCHEMA, *(f"GRANT EXECUTE ON FUNCTION {name} TO {self.base.user}" for name in CHECKS))
        self.base.run(f"ALTER TABLE biography_jobs OWNER TO {self.base.user}")
        host, port = self.base.server.address.split(":")
        secret = self.home / ".pgpass"
        secret.touch(mode=0o600)
        word = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
        secret.write_text(f"{host}:{port}:*:{self.base.user}:{word}\n")
        self.environment["HOME"] = str(self.home)  # where PostgreSQL's programs look for it
        self.disk = self.stack.enter_context(small_disk(self.home / "disk", ROOM // 1024))
        for name in ("logs", "bios", "docx", "backups"):
            (self.disk / name).mkdir()
        self.tools, self.compose = self.doubles(), str(self.home / "compose")
        services = {"ab": "api", "cd": "worker", "ef": "db"}
        self.tools.change(
            "docker",
            {
                "folder": self.compose,
                "files": [f"{self.compose}/compose.yml"],
                "containers": [container(key, name, self.compose) for key, name in services.items()],
            },
        )
        login = {
            "host": host,
            "port": port,
            "user": "postgres",
            "dbname": self.base.name,
            "password": PASSWORD,
        }
        self.parts |= {
            "docker": str(self.tools.folder / "docker.json"),
            "disk": str(self.disk),
            "room": ROOM,
            "login": login,
        }

    def runs(self) -> set[str]:
        """Return the services that run."""
        found = self.tools.state("docker")["containers"]
        return {one["Config"]["Labels"][LABEL] for one in found if one["State"]["Running"]}

    def crashes(self) -> None:
        """Let the worker die, in the middle of two jobs of yesterday and one of now."""
        kept = self.tools.state("docker")
        for one in kept["containers"]:
            if one["Config"]["Labels"][LABEL] == "worker":
                one["State"]["Running"] = False
        self.tools.change("docker", kept)
        self.base.run(
            "INSERT INTO biography_jobs SELECT n, 'processing', NULL, now() - interval '1 day' FROM generate_series(1, 2) n",
            "INSERT INTO biography_jobs VALUES (3, 'processing', NULL, now())",
        )

    def is_damaged(self) -> None:
        """Let an index no longer fit its table."""
        self.base.run(SHOWN.format("lower"))

    def rows(self) -> list[tuple[object, ...]]:
        """Return the jobs."""
        return self.base.rows(
            "SELECT job_id, status, error_message FROM biography_jobs WHERE job_id < 100 ORDER BY 1"
        )

    def writes(self, path: str, kilobytes: int, days: float) -> None:
        """Write a file on the disk that is so old."""
        file = self.disk / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 1024 * kilobytes)
        os.utime(file, (time.time() - days * DAY,) * 2)

    def files(self) -> set[str]:
        """Return what is on the disk."""
        return {str(path.relative_to(self.disk)) for path in self.disk.rglob("*") if path.is_file()}

    async def state(self) -> dict[str, object]:
        """Say how the parts are."""
        return {**await super().state(), "services": self.runs(), "jobs": self.rows(), "files": self.files()}


def _fills_the_disk(system: BookGen) -> None:
    system.writes("logs/api.log", 100, 30)
    system.writes("logs/api.log.1", 900, 1)
    system.writes("logs/api.log.2", 900, 20)
    system.writes("bios/new/book.md", 900, 2)
    system.writes("bios/old/book.md", 500, 20)
    system.writes("docx/old.docx", 500, 20)


def _logs_are_gone(system: BookGen) -> None:
    left = {"logs/api.log", "logs/api.log.1", "bios/new/book.md", "bios/old/book.md", "docx/old.docx"}
    assert system.files() == left


def _jobs_are_reset(system: BookGen) -> None:
    reset = [(n, "failed", "Worker crashed - job reset") for n in (1, 2)]
    assert system.rows() == [*reset, (3, "processing", None)]
    assert "worker" in system.runs()


def _batches_are_small(system: BookGen) -> None:
    env = system.env()
    assert (env["BATCH_SIZE_CHAPTERS"], env["MAX_CONCURRENT_JOBS"], env["WORKER_MEM_LIMIT"]) == (
        "2",
        "1",
        "2g",
    )
    assert "worker" in system.runs()


def _is_repaired(system: BookGen) -> None:
    assert system.runs() == {"api", "worker", "db"}
    copies = {path.name.split("-20")[0] for path in (system.home / "copies").glob("*.json")}
    assert copies == {"emergency", "before-repair"}


ONCALL = {"oncall", "incidents"}
CASES = (
    Case(
        "bookgen",
        "worker-crashed",
        "sql-restart",
        steps=("sql", "restart"),
        begin=BookGen.crashes,
        held=_jobs_are_reset,
        outcome="kept",
        differs={"jobs", "services"},
        told=ONCALL,
    ),
    Case(
        "bookgen",
        "database-corruption",
        "backup-sql-approval",
        steps=("service", "service", "backup", "backup", "sql", "sql", "exec", "service", "service"),
        begin=BookGen.is_damaged,
        held=_is_repaired,
        outcome="kept",
        answers={"approval": "approve"},
        told={"oncall", "dba", "stakeholders"},
    ),
    Case(
        "bookgen",
        "disk-space",
        "exec-files",
        steps=("exec", "exec", "files"),
        begin=_fills_the_disk,
        held=_logs_are_gone,
        differs={"files"},
        told=ONCALL,
    ),
    Case(
        "bookgen",
        "memory-exhausted",
        "service-flag-exec",
        steps=("service", "exec", "exec", "restart", "flag", "exec"),
        begin=lambda system: system.breaks(memory=1),
        held=_batches_are_small,
        end=lambda system: system.breaks(memory=0),
        outcome="kept",
        differs={"env"},
        told=ONCALL,
    ),
)
