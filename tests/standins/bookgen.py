"""BookGen: stand-in for the api of a Compose project; which containers run, the docker double knows, what jobs do, PostgreSQL."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from tests.standins.core import Answer, Growth, Sample, StandIn, asked, serve

LABEL = "com.docker.compose.service"
STUCK = "SELECT count(*) FROM biography_jobs WHERE status = 'processing' AND created_at < now() - interval '1 hour'"


class BookGen(StandIn):
    """`memory` short: the kernel kills, as long as a worker runs with large batches."""

    routes: ClassVar = {"/health": "alive", "/api/v1/status": "alive"}

    def __init__(self, home: Path) -> None:
        """Start with empty counters."""
        super().__init__(home)
        self._kills = Growth()

    def runs(self, service: str) -> bool:
        """Tell whether a service's container runs."""
        kept = json.loads(Path(self.parts["docker"]).read_text(encoding="utf-8"))
        return any(
            one["State"]["Running"] for one in kept["containers"] if one["Config"]["Labels"][LABEL] == service
        )

    def alive(self, method: str, path: str) -> Answer:
        """Answer as long as the api's container runs."""
        return (200, {"status": "healthy"}) if self.runs("api") else (502, {})

    def exported(self, job: str) -> Iterable[Sample]:
        """Say what each exporter says."""
        return {
            "bookgen-blackbox": self._blackbox,
            "bookgen-postgres": self._postgres,
            "bookgen-celery": self._celery,
            "bookgen-node": self._node,
        }[job]()

    def _blackbox(self) -> Iterable[Sample]:
        yield "probe_success", {}, asked(f"{self.parts['url']}/health")[0] == 200

    def _celery(self) -> Iterable[Sample]:
        yield "celery_worker_up", {}, self.runs("worker")

    def _postgres(self) -> Iterable[Sample]:
        import psycopg

        try:
            with psycopg.connect(**self.parts["login"], connect_timeout=1) as base:
                row: Any = base.execute(STUCK).fetchone()
                damaged = _is_damaged(base)
        except psycopg.Error:
            yield "pg_up", {}, 0
            return
        yield "pg_up", {}, 1
        yield "bookgen_jobs_stuck", {}, row[0]
        yield "bookgen_postgres_checksum_failures", {}, damaged

    def _node(self) -> Iterable[Sample]:
        root = {"mountpoint": "/"}
        files = [path for path in Path(self.parts["disk"]).rglob("*") if path.is_file()]
        used = sum(path.stat().st_size for path in files)
        yield "node_filesystem_size_bytes", root, self.parts["room"]
        yield "node_filesystem_avail_bytes", root, self.parts["room"] - used
        yield "node_memory_MemTotal_bytes", {}, 100
        yield "node_memory_MemAvailable_bytes", {}, 20 if self.fault("memory") else 60
        large = "MAX_CONCURRENT_JOBS=1\n" not in (self.home / ".env").read_text(encoding="utf-8")
        killing = bool(self.fault("memory")) and self.runs("worker") and large
        yield "node_vmstat_oom_kill", {}, self._kills.by(float(killing))


def _is_damaged(base: Any) -> bool:
    """Tell whether the index lacks what is in the table; while it is repaired it is not yet whole."""
    import psycopg

    try:
        base.execute("SET lock_timeout = '200ms'")
        base.execute("SELECT bt_index_check('jobs_status', true)")
    except (psycopg.errors.IndexCorrupted, psycopg.errors.DataCorrupted, psycopg.errors.LockNotAvailable):
        return True
    return False


if __name__ == "__main__":
    serve(BookGen)
