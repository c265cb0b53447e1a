"""BookGen's own steps and probes, as its rules plan them, on a real PostgreSQL and real files."""

import gzip
import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from tests.servers import PASSWORD

from stopgap.action import Moment, Restored
from stopgap.config import load
from stopgap.errors import PermanentError
from stopgap.plan import Plan, plan, plan_probes
from stopgap.probe import Verdict
from stopgap.stock import bare_context, build_catalog
from stopgap.template import Scope

RULES = Path(__file__).parents[2] / "rules" / "bookgen"
CATALOG = build_catalog(bare_context())
JOBS = (
    "CREATE TABLE biography_jobs (job_id int PRIMARY KEY, character text, status text, error_message text, created_at timestamptz)",
    "INSERT INTO biography_jobs SELECT n, 'ada', 'processing', NULL, now() - interval '2 hours' FROM generate_series(1, 3) AS n",
    "INSERT INTO biography_jobs VALUES (4, 'bob', 'processing', NULL, now()), (5, 'eve', 'done', NULL, now() - interval '1 day')",
)


class Pack:
    """The rules under vars of a test, and what of them is done."""

    def __init__(self, **given: object) -> None:
        texts = {name: str(value) for name, value in given.items()}
        loaded = load(RULES, CATALOG, vars=texts, environ={})
        self._rules = {rule.name: rule for rule in loaded.rules}

    def rung(self, rule: str, name: str) -> Plan:
        """Plan a rung by its name."""
        found = self._rules[rule]
        number = next(i for i, rung in enumerate(found.ladder) if rung.name == name)
        planned = plan(found, number, CATALOG, self._scope(rule))
        assert isinstance(planned, Plan)
        return planned

    def step(self, rule: str, rung: str, kind: str, words: str = ""):
        """Return one step by its action and a piece of its words."""
        return next(
            step
            for step in self.rung(rule, rung).steps
            if step.action.name == kind and words in step.action.describe(step.params)
        )

    async def act(self, rule: str, rung: str, kind: str, words: str = "", within: int = 30):
        """Do one step; return what takes it back."""
        step = self.step(rule, rung, kind, words)
        key = f"INC-1/{rung}/{kind}/{words}"  # as each step has its own
        moment = Moment(key, timedelta(seconds=within), f"bookgen/{rule}", "bookgen", "INC-1")
        before = await step.action.observe(step.params, moment)
        receipt = await step.action.run(step.params, before, moment)
        return lambda: step.action.revert(step.params, before, receipt, moment)

    async def asks(self, probes) -> list[Verdict]:
        """Ask probes, once each."""
        return [(await each.probe.ask(each.params, timedelta(seconds=10))).verdict for each in probes]

    def recovered(self, rule: str):
        """Plan what is asked of the cause."""
        return plan_probes(self._rules[rule].recovered, CATALOG, self._scope(rule))

    def _scope(self, rule: str) -> Scope:
        known = self._rules[rule].vars
        return Scope(vars=known, labels={}, annotations={}, target="bookgen", incident_id="INC-1", secrets={})


@pytest.fixture
def base(postgres, monkeypatch, tmp_path):
    """A database with jobs; its password stands in ~/.pgpass, as the pack wants it."""
    base = postgres.database()
    base.run(*JOBS, f"ALTER TABLE biography_jobs OWNER TO {base.user}", f"ALTER ROLE {base.user} CREATEDB")
    password = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".pgpass").write_text(
        f"127.0.0.1:*:*:{base.user}:{password}\n127.0.0.1:*:*:postgres:{password}\n"
    )
    (home / ".pgpass").chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PGPASSFILE", str(home / ".pgpass"))  # libpq in this process has read HOME already
    monkeypatch.setenv("PATH", f"/usr/lib/postgresql/15/bin:{os.environ['PATH']}")
    return base


def pack_of(base, tmp_path, **more):
    given = {
        "database": base.locator,
        "database_host": "127.0.0.1",
        "database_port": base.server.port,
        "database_name": base.name,
        "database_role": base.user,
        "backups": tmp_path / "backups",
        "copies": tmp_path / "copies",
        "room": "1MB",
    }
    return Pack(**(given | more))


def states(base):
    return dict(base.rows("SELECT job_id, status FROM biography_jobs ORDER BY 1"))


async def test_jobs_that_are_stuck_for_an_hour_become_failed_and_a_person_can_have_them_back(base, tmp_path):
    pack = pack_of(base, tmp_path)
    verify = pack.rung("worker-crashed", "reset stuck jobs").verify
    assert await pack.asks(verify) == [Verdict.UNHEALTHY]
    back = await pack.act("worker-crashed", "reset stuck jobs", "sql")
    assert states(base) == {1: "failed", 2: "failed", 3: "failed", 4: "processing", 5: "done"}
    assert base.rows("SELECT DISTINCT error_message FROM biography_jobs WHERE status = 'failed'") == [
        ("Worker crashed - job reset",)
    ]
    assert await pack.asks(verify) == [Verdict.HEALTHY]
    assert (await back()).result is Restored.REVERTED
    assert states(base)[1] == "processing"


async def test_more_stuck_jobs_than_allowed_are_left_as_they_are(base, tmp_path):
    pack = pack_of(base, tmp_path, stuck_max=2)
    with pytest.raises(PermanentError):
        await pack.act("worker-crashed", "reset stuck jobs", "sql")
    assert states(base)[1] == "processing"


async def test_a_damaged_index_is_seen_by_the_check_and_repaired(base, tmp_path):
    base.run("CREATE EXTENSION amcheck")
    as_superuser = base.locator.replace(f"{base.user}@", "postgres@")
    pack = pack_of(base, tmp_path, database=as_superuser, database_role="postgres")
    recovered = pack.recovered("database-corruption")
    assert await pack.asks(recovered) == [Verdict.HEALTHY]
    _damage_index(base)
    assert await pack.asks(recovered) == [Verdict.UNHEALTHY]
    with pytest.raises(PermanentError, match="exited with 2"):
        await pack.act("database-corruption", "repair", "exec", "pg_amcheck")

    for kind, words in (
        ("backup", ""),
        ("sql", "REINDEX"),
        ("sql", "pg_stat_reset"),
        ("sql", "VACUUM"),
        ("exec", "pg_amcheck"),
    ):
        await pack.act("database-corruption", "repair", kind, words)
    assert await pack.asks(recovered) == [Verdict.HEALTHY]


async def test_whoever_still_writes_is_seen(base, tmp_path):
    pack = pack_of(base, tmp_path)
    verify = pack.rung("database-corruption", "stop the writers").verify
    assert await pack.asks(verify) == [Verdict.HEALTHY]
    with psycopg.connect(
        host="127.0.0.1", port=base.server.port, user=base.user, password=PASSWORD, dbname=base.name
    ):
        assert await pack.asks(verify) == [Verdict.UNHEALTHY]


async def test_the_nightly_dump_comes_back_and_the_emergency_dump_is_never_taken_for_it(base, tmp_path):
    pack = pack_of(base, tmp_path)
    backups = tmp_path / "backups"
    backups.mkdir()
    dump = subprocess.run(
        ["pg_dump", "-h", "127.0.0.1", "-p", str(base.server.port), "-U", base.user, base.name],
        capture_output=True,
        check=True,
        timeout=30,
    )
    (backups / "nightly.sql.gz").write_bytes(gzip.compress(dump.stdout))
    (backups / "emergency_20261121.sql").write_text("broken")
    base.run("DELETE FROM biography_jobs")
    await pack.act("database-corruption", "stop the writers", "backup")
    assert [path.suffix for path in sorted((tmp_path / "copies").glob("emergency-*"))] == [".dump", ".json"]

    await pack.act("database-corruption", "restore", "restore")
    assert len(states(base)) == 5


async def test_an_old_dump_is_not_restored(base, tmp_path):
    pack = pack_of(base, tmp_path)
    old = tmp_path / "backups" / "nightly.sql.gz"
    old.parent.mkdir()
    old.write_bytes(gzip.compress(b"-- PostgreSQL database dump complete\n"))
    aged(old, hours=30)
    with pytest.raises(PermanentError, match="older than"):
        await pack.act("system-down", "previous version and database", "restore")


async def test_clean_ups_take_what_is_old_and_leave_the_rest(tmp_path):
    folders = {name: tmp_path / name for name in ("logs", "bios", "docx", "backups", "archive")}
    for folder in folders.values():
        folder.mkdir()
    (folders["bios"] / "ada").mkdir()
    names = {"logs": "app.log.1", "bios": "ada/book.md", "docx": "ada.docx"}
    for name, path in names.items():
        aged(folders[name] / path, hours=24 * 8)
        aged(folders[name] / f"{path}.log.2", hours=1)
    for day in range(1, 9):
        aged(folders["backups"] / f"{day}.sql.gz", hours=24 * day)
    pack = Pack(**folders)
    await pack.act("disk-space", "old logs", "files")
    await pack.act("disk-space", "old books", "files", "bios")
    await pack.act("disk-space", "old books", "files", "docx")
    await pack.act("disk-space", "old backups", "files")
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == [
        "backups/1.sql.gz",
        "backups/2.sql.gz",
        "backups/3.sql.gz",
        "bios/ada/book.md.log.2",
        "docx/ada.docx.log.2",
        "logs/app.log.1.log.2",
    ]


async def test_the_archive_takes_what_is_a_day_old_and_can_be_moved_back(tmp_path):
    bios, archive = tmp_path / "bios", tmp_path / "archive"
    for folder in (bios, archive):
        folder.mkdir()
    aged(bios / "done.md", hours=48)
    aged(bios / "running.md", hours=1)
    pack = Pack(bios=bios, archive=archive)
    back = await pack.act("disk-space", "archive", "files", str(bios))
    assert [path.name for path in bios.iterdir()] == ["running.md"]
    assert [path.name for path in archive.rglob("*.md")] == ["done.md"]
    assert (await back()).result is Restored.REVERTED
    assert sorted(path.name for path in bios.iterdir()) == ["done.md", "running.md"]


async def test_only_a_deployment_of_late_is_a_reason_to_roll_back(tmp_path):
    log = tmp_path / "deploy.log"
    pack = Pack(deploy_log=log)
    for rung in ("previous version", "previous version and database"):
        only_if = pack.rung("system-down", rung).only_if
        log.unlink(missing_ok=True)
        assert await pack.asks(only_if) == [Verdict.UNHEALTHY]
        aged(log, hours=2)
        assert await pack.asks(only_if) == [Verdict.HEALTHY]
        aged(log, hours=25)
        assert await pack.asks(only_if) == [Verdict.UNHEALTHY]


async def test_a_clearance_is_that_of_this_incident(tmp_path):
    pack = Pack(cleared=tmp_path)
    recovered = pack.recovered("security-breach")
    (tmp_path / "INC-0").touch()
    assert await pack.asks(recovered) == [Verdict.UNHEALTHY]
    (tmp_path / "INC-1").touch()
    assert await pack.asks(recovered) == [Verdict.HEALTHY]


async def test_the_evidence_is_copied_and_nothing_of_it_is_ever_a_backup(tmp_path):
    logs, config = tmp_path / "logs", tmp_path / "opt" / ".env"
    logs.mkdir()
    config.parent.mkdir()
    (logs / "access.log").write_text("203.0.113.7")
    config.write_text("SECRET_KEY=x\n")
    pack = Pack(logs=logs, config_file=config, evidence=tmp_path / "evidence", room="1MB")
    for words in (f"file:{logs}", f"file:{config}"):
        await pack.act("security-breach", "keep the evidence", "backup", words)
    kept = sorted(path.name.partition("-")[0] for path in (tmp_path / "evidence").glob("*.tar"))
    assert kept == ["env", "logs"]
    assert (tmp_path / "evidence").stat().st_mode & 0o077 == 0


async def test_batches_and_limits_are_one_write_that_keeps_the_rest(tmp_path):
    env = tmp_path / ".env"
    env.write_text("# ours\nMAX_CONCURRENT_JOBS=4\nSECRET_KEY=x\n")
    pack = Pack(config=f"env://{env}")
    back = await pack.act("memory-exhausted", "smaller batches", "flag")
    lines = env.read_text().splitlines()
    assert lines[:3] == ["# ours", "MAX_CONCURRENT_JOBS=1", "SECRET_KEY=x"]
    assert {"BATCH_SIZE_CHAPTERS=2", "BATCH_SIZE_SPECIAL_SECTIONS=1", "API_MEM_LIMIT=2g"} <= set(lines)
    assert (await back()).result is Restored.REVERTED
    assert env.read_text() == "# ours\nMAX_CONCURRENT_JOBS=4\nSECRET_KEY=x\n"


def aged(path: Path, hours: float) -> None:
    """Make a file that was last changed so long ago."""
    if not path.exists():
        path.write_text("x")
    at = time.time() - hours * 3600
    os.utime(path, (at, at))


def _damage_index(base) -> None:
    """Let the primary key's index lose what its table has: what a bad disk, or a bug, leaves behind."""
    base.run(
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'biography_jobs_pkey'::regclass",
        "INSERT INTO biography_jobs VALUES (99, 'zoe', 'done', NULL, now())",
        "UPDATE pg_index SET indisready = true WHERE indexrelid = 'biography_jobs_pkey'::regclass",
    )
