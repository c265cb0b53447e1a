"""The steps of the pack oracle-chat on a real `.env`, a real SQLite file and real copies, without the restarts between them."""

import itertools
import json
import os
import shutil
import sqlite3
import tarfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stopgap.action import Moment, Restored
from stopgap.config import load
from stopgap.demo.lab import shipped_rules
from stopgap.errors import PermanentError
from stopgap.plan import Plan, plan
from stopgap.stock import bare_context, build_catalog
from stopgap.template import Scope

CATALOG = build_catalog(bare_context())
WITHIN = timedelta(seconds=20)
AROUND = {"service", "restart", "exec"}
ENV = """\
# Oracle Chat AI
export GEMINI_API_KEY='k-1'
USE_PERSISTENT_SESSIONS=true
GRADUAL_ROLLOUT_PERCENTAGE=50   # half of them
MAX_PERSISTENT_SESSIONS="500"
PERSISTENT_SESSION_TIMEOUT=7200
LOG_LEVEL=DEBUG
THEME=dark
"""
SCHEMA = """
CREATE TABLE sessions (id INTEGER PRIMARY KEY, title TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY, text TEXT);
INSERT INTO messages SELECT value, hex(zeroblob(2000)) FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]');
"""


class Site:
    """A machine of the handbook, and the pack's rules for it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env, self.folder, self.base = home / "backend/.env", home / "backend/config", home / "oracle.db"
        self.kept, self.backups, self.configs = home / "kept", home / "backups", home / "backups/config"
        for folder in (self.folder, self.configs):
            folder.mkdir(parents=True)
        self.env.write_text(ENV)
        (self.folder / "models.json").write_text("new")
        self.fill(self.base, "live")
        given = {
            "config": f"env://{self.env}",
            "config_file": f"file://{self.env}",
            "config_folder": f"file://{self.folder}",
            "database": f"sqlite://{self.base}",
            "database_file": str(self.base),
            "backups": str(self.backups),
            "config_backups": str(self.configs),
            "kept": str(self.kept),
            "min_free": "1MB",
        }
        self._rules = load(shipped_rules() / "oracle-chat", CATALOG, vars=given, environ={}).rulebook.rules
        self._keys = itertools.count()

    def fill(self, path: Path, title: str, *, hours_ago: int = 0) -> None:
        """Make a database of one session, so many hours ago."""
        with closing(sqlite3.connect(path)) as base:
            base.executescript(SCHEMA)
            base.execute("INSERT INTO sessions (title) VALUES (?)", (title,))
            base.commit()
        self.age(path, hours_ago)

    def age(self, path: Path, hours: int) -> None:
        """Let a file be so many hours old."""
        at = path.stat().st_mtime - hours * 3600
        os.utime(path, (at, at))

    def title(self) -> str:
        """Return what the live database holds."""
        with closing(sqlite3.connect(f"file:{self.base}?mode=ro", uri=True)) as base:
            return str(base.execute("SELECT title FROM sessions").fetchone()[0])

    def damage(self, path: Path) -> None:
        """Overwrite what is in the middle of a database."""
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(b"\xff" * 8192)

    def rung(self, rule: str, name: str) -> Plan:
        """Plan a rung as the engine does."""
        found = self._rules[f"oracle-chat/{rule}"]
        number = [rung.name for rung in found.ladder].index(name)
        planned = plan(found, number, CATALOG, Scope(labels={}, target="app", incident_id="INC-1"))
        assert isinstance(planned, Plan), planned
        return planned

    async def do(self, rule: str, name: str) -> list[Any]:
        """Do the steps of a rung; return what takes each of them back, the last first."""
        back: list[Any] = []
        for step in self.rung(rule, name).do:
            if step.spec.action in AROUND:
                continue
            moment = Moment(f"INC-1/{next(self._keys)}", WITHIN, f"oracle-chat/{rule}", "app", "INC-1")
            try:
                before = json.loads(json.dumps(await step.action.observe(step.params, moment)))
                receipt = await step.action.run(step.params, before, moment)
            except PermanentError:
                if not step.spec.optional:
                    raise
                continue
            back.insert(0, (step, before, receipt, moment))
        return back

    async def undo(self, done: list[Any]) -> list[Restored]:
        """Take back."""
        return [
            (await step.action.revert(step.params, before, receipt, moment)).result
            for step, before, receipt, moment in done
        ]

    async def asks(self, rule: str, name: str, role: str = "verify") -> list[str]:
        """Return what those probes of a rung say that need neither the app nor Prometheus."""
        probes = [each for each in getattr(self.rung(rule, name), role) if each.spec.probe in {"sql", "exec"}]
        return [str((await each.probe.ask(each.params, WITHIN)).verdict) for each in probes]

    def copies(self) -> set[str]:
        """Return of what Stopgap made copies, and why."""
        return {path.stem.rsplit("-", 1)[0] for path in self.kept.glob("*.json")}


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


async def test_the_safe_configuration_sets_six_flags_and_leaves_all_else_and_goes_back_to_the_letter(site):
    done = await site.do("stabilise", "safe configuration")
    lines = site.env.read_text().splitlines()
    assert lines[:3] == ["# Oracle Chat AI", "export GEMINI_API_KEY='k-1'", "USE_PERSISTENT_SESSIONS=false"]
    assert lines[3:] == [
        "GRADUAL_ROLLOUT_PERCENTAGE=0   # half of them",
        'MAX_PERSISTENT_SESSIONS="100"',
        "PERSISTENT_SESSION_TIMEOUT=3600",
        "LOG_LEVEL=ERROR",
        "THEME=dark",
        "CLEANUP_INTERVAL=300",
    ]
    assert await site.undo(done) == [Restored.REVERTED]
    assert site.env.read_text() == ENV


async def test_the_app_is_not_started_without_its_database(site):
    assert await site.asks("stabilise", "restart", "only_if") == ["healthy"]
    site.base.write_bytes(b"")
    assert await site.asks("stabilise", "restart", "only_if") == ["unhealthy"]
    site.base.unlink()
    assert await site.asks("stabilise", "safe configuration", "only_if") == ["unhealthy"]


async def test_a_flag_that_somebody_sets_meanwhile_is_left_alone_and_the_rest_goes_back(site):
    done = [
        each for each in await site.do("session-failure", "sessions off") if each[0].spec.action == "flag"
    ]
    site.env.write_text(site.env.read_text().replace("PERCENTAGE=0", "PERCENTAGE=10"))
    assert await site.undo(done) == [Restored.DRIFTED]
    assert "PERCENTAGE=10" in site.env.read_text()
    assert "USE_PERSISTENT_SESSIONS=true" in site.env.read_text()


async def test_the_latest_good_configuration_is_put_back_and_no_emergency_copy(site):
    (site.configs / "20261119.env").write_text("OLD=1\n")
    (site.configs / "20261120.env").write_text("GOOD=1\n")
    (site.configs / "emergency_20261121.env").write_text("BROKEN=1\n")
    site.age(site.configs / "20261119.env", 30)
    site.age(site.configs / "20261120.env", 6)
    with tarfile.open(site.configs / "20261120.config.tar", "w") as tar:
        (site.home / "older").mkdir()
        (site.home / "older" / "models.json").write_text("old")
        tar.add(site.home / "older", "config")
    done = await site.do("configuration-rollback", "configuration rollback")
    assert site.env.read_text() == "GOOD=1\n"
    assert (site.folder / "models.json").read_text() == "old"
    assert site.copies() == {"env-emergency", "config-emergency"}
    assert set(await site.undo(done)) == {Restored.REVERTED, Restored.NOTHING}
    assert (site.env.read_text(), (site.folder / "models.json").read_text()) == (ENV, "new")


async def test_a_site_without_copies_of_its_folder_gets_its_configuration_back_all_the_same(site):
    (site.configs / "20261120.env").write_text("GOOD=1\n")
    await site.do("configuration-rollback", "configuration rollback")
    assert (site.env.read_text(), (site.folder / "models.json").read_text()) == ("GOOD=1\n", "new")


async def test_without_a_good_configuration_nothing_is_changed(site):
    (site.configs / "emergency_20261121.env").write_text("BROKEN=1\n")
    with pytest.raises(PermanentError, match="no proved copy"):
        await site.do("configuration-rollback", "configuration rollback")
    assert site.env.read_text() == ENV


async def test_a_damaged_database_is_kept_and_the_latest_good_copy_takes_its_place(site):
    site.fill(site.backups / "oracle_sessions_20261121_0000.db", "yesterday", hours_ago=12)
    site.fill(site.backups / "oracle_sessions_20261121_0600.db", "this morning", hours_ago=6)
    site.fill(site.backups / "oracle_sessions_emergency_20261121.db", "broken")
    assert await site.asks("database-failure", "restart", "only_if") == ["healthy"]
    site.damage(site.base)
    assert await site.asks("database-failure", "restart", "only_if") == ["unhealthy"]
    await site.do("database-failure", "latest copy")
    assert site.title() == "this morning"
    assert await site.asks("database-failure", "latest copy") == ["healthy"] * 3
    assert site.copies() == {"oracle_sessions-broken"}


async def test_a_database_that_is_gone_is_put_back_too(site):
    site.fill(site.backups / "oracle_sessions_20261121_0600.db", "this morning", hours_ago=6)
    site.base.unlink()
    assert await site.asks("database-failure", "restart", "only_if") == ["unknown"]
    await site.do("database-failure", "latest copy")
    assert (site.title(), site.copies()) == ("this morning", set())


@pytest.mark.parametrize(("hours", "damaged"), [(30, False), (1, True)], ids=["old", "damaged"])
async def test_a_copy_that_is_too_old_or_damaged_replaces_nothing(site, hours, damaged):
    copy = site.backups / "oracle_sessions_20261120_0000.db"
    site.fill(copy, "copy", hours_ago=hours)
    if damaged:
        site.damage(copy)
    with pytest.raises(PermanentError):
        await site.do("database-recovery", "latest copy")
    assert site.title() == "live"


async def test_what_a_rung_kept_is_never_put_back_by_another(site):
    await site.do("first-day", "short-term recovery")
    assert site.copies() == {"oracle_sessions-after", "env-after"}
    with pytest.raises(PermanentError, match="no proved copy"):
        await site.do("database-recovery", "latest copy")


async def test_hardening_twice_sets_each_key_once(site):
    for _ in range(2):
        shutil.rmtree(site.kept, ignore_errors=True)  # two copies in one second would have one name
        await site.do("hardening", "hardened configuration")
    keys = [line.split("=")[0] for line in site.env.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 16
    assert 'MAX_PERSISTENT_SESSIONS="300"' in site.env.read_text()
    assert site.copies() == {"env-before-hardening"}
