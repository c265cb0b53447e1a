"""The steps of the pack hotel-assistant on a real SQLite file, with all but the service that is stopped and started around them."""

import itertools
import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stopgap.action import Moment
from stopgap.config import load
from stopgap.demo.lab import shipped_rules
from stopgap.errors import PermanentError
from stopgap.plan import Plan, plan
from stopgap.rule import Rule
from stopgap.stock import bare_context, build_catalog
from stopgap.template import Scope

CATALOG = build_catalog(bare_context())
ENVIRON = {f"STOPGAP_CONTACT_{name}": "json://localhost" for name in ("DEFAULT", "ONCALL")}
WITHIN = timedelta(seconds=20)
AROUND = {"service", "restart"}
SCHEMA = """
CREATE TABLE chat_logs (id TEXT PRIMARY KEY, timestamp TEXT, text TEXT);
CREATE TABLE tool_calls (id INTEGER PRIMARY KEY, created_at TEXT);
CREATE TABLE bookings (id INTEGER PRIMARY KEY, guest TEXT);
INSERT INTO bookings VALUES (1, 'anna'), (2, 'ben');
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 59)
INSERT INTO chat_logs
SELECT 'chat ' || i, datetime('now', 'start of day', '-' || i || ' days', '12 hours'), hex(zeroblob(2000)) FROM n;
INSERT INTO tool_calls SELECT rowid, timestamp FROM chat_logs;
"""


class Site:
    """A database, its folders of copies, and the pack's rules for them."""

    def __init__(self, home: Path) -> None:
        self.database, self.backups, self.aside = (
            home / "hotel.db",
            home / "backups",
            home / "backups" / "aside",
        )
        self.backups.mkdir()
        self.run(SCHEMA)
        self._keys = itertools.count()
        self._loaded: dict[str, Mapping[str, Rule]] = {}

    def run(self, script: str) -> None:
        with closing(sqlite3.connect(self.database)) as base:
            base.executescript(script)

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as base:
            return [row[0] for row in base.execute(query)]

    @property
    def logged(self) -> tuple[int, int]:
        """Count the rows of the two tables."""
        chats, calls = (self.rows(f"SELECT id FROM {table}") for table in ("chat_logs", "tool_calls"))
        return len(chats), len(calls)

    def damage(self) -> None:
        size = self.database.stat().st_size
        with self.database.open("r+b") as file:
            file.seek(size // 2)
            file.write(b"\xff" * 8192)

    def rules(self, **given: str) -> Mapping[str, Rule]:
        """Load the pack as a site of these vars has it."""
        places = {
            "database": f"sqlite://{self.database}",
            "backups": str(self.backups),
            "aside": str(self.aside),
            "min_free": "1MB",
        }
        vars_ = {**places, **given}
        key = str(sorted(vars_.items()))
        if key not in self._loaded:
            loaded = load(shipped_rules() / "hotel-assistant", CATALOG, vars=vars_, environ=ENVIRON)
            self._loaded[key] = loaded.rulebook.rules
        return self._loaded[key]

    def rung(self, rule: str, name: str, *, labels: Mapping[str, str] | None = None, **given: str) -> Plan:
        """Plan a rung as the engine does, for an alert with these labels."""
        found = self.rules(**given)[f"hotel-assistant/{rule}"]
        number = [rung.name for rung in found.ladder].index(name)
        scope = Scope(labels=labels or {}, target="app", incident_id="INC-1")
        planned = plan(found, number, CATALOG, scope)
        assert isinstance(planned, Plan), planned
        return planned

    async def do(self, rule: str, name: str, **given: Any) -> None:
        """Do the steps of a rung, one after the other."""
        for step in self.rung(rule, name, **given).do:
            if step.spec.action in AROUND:
                continue
            moment = Moment(f"INC-1/{next(self._keys)}", WITHIN, f"hotel-assistant/{rule}", "app", "INC-1")
            before = json.loads(json.dumps(await step.action.observe(step.params, moment)))
            await step.action.run(step.params, before, moment)

    async def asks(self, rule: str, name: str, role: str = "verify") -> list[str]:
        """Return what the SQL probes of a rung say."""
        probes = getattr(self.rung(rule, name, labels={"copy": "any"}), role)
        return [
            str((await each.probe.ask(each.params, WITHIN)).verdict)
            for each in probes
            if each.spec.probe == "sql"
        ]


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


async def test_old_rows_go_in_bounded_portions_after_a_copy_and_guests_stay(site):
    rule = ("degraded-performance", "old rows")
    assert site.logged == (60, 60)
    assert await site.asks(*rule, "only_if") == ["healthy"]
    await site.do(*rule, rows_max="20")
    assert site.logged == (40, 40)
    assert site.rows("SELECT id FROM chat_logs WHERE id IN ('chat 59', 'chat 40', 'chat 39')") == ["chat 39"]
    assert await site.asks(*rule) == ["unhealthy"]  # some are left
    (copy,) = site.backups.glob("*.sqlite")
    copy.unlink()
    await site.do(*rule, rows_max="20")
    assert site.logged == (31, 31)  # noon thirty days ago is not older than thirty days
    assert await site.asks(*rule) == ["healthy"]
    assert await site.asks(*rule, "only_if") == ["unhealthy"]
    assert site.rows("SELECT guest FROM bookings") == ["anna", "ben"]


async def test_tidying_up_gives_the_room_back(site):
    site.run("DELETE FROM chat_logs")
    before = site.database.stat().st_size
    await site.do("degraded-performance", "tidy up")
    assert site.database.stat().st_size < before / 2


async def test_the_write_ahead_log_is_switched_on_where_it_was_off(site):
    rule = ("database-locked", "write-ahead log")
    assert await site.asks(*rule, "only_if") == ["healthy"]
    await site.do(*rule)
    assert await site.asks(*rule) == ["healthy"]
    assert await site.asks(*rule, "only_if") == ["unhealthy"]


@pytest.mark.parametrize("together", [False, True])
async def test_the_copy_of_what_is_damaged_is_never_put_back_even_where_it_is_the_latest(site, together):
    aside = {"aside": str(site.backups)} if together else {}
    await site.do("backup-overdue", "copy")
    site.damage()
    assert await site.asks("database-corruption", "latest good copy") == ["unhealthy"]
    await site.do("database-corruption", "stop and keep the evidence", **aside)
    assert len(list((site.backups if together else site.aside).glob("corrupted-*.evidence.tar"))) == 1
    await site.do("database-corruption", "latest good copy", **aside)
    assert await site.asks("database-corruption", "latest good copy") == ["healthy"]
    assert site.rows("SELECT guest FROM bookings") == ["anna", "ben"]
    assert len(list(site.database.parent.glob("hotel.db.before-*"))) == 1


async def test_without_a_good_copy_the_damaged_one_is_left_alone(site):
    site.damage()
    await site.do("database-corruption", "stop and keep the evidence")
    damaged = site.database.read_bytes()
    with pytest.raises(PermanentError, match=r"hold|there|no such"):
        await site.do("database-corruption", "latest good copy")
    assert site.database.read_bytes() == damaged


async def test_a_copy_that_somebody_made_by_hand_is_put_back_by_its_name(site):
    shutil.copy(site.database, site.backups / "hotel.db.20260204")
    site.run("INSERT INTO bookings VALUES (3, 'mallory')")
    await site.do("backup-overdue", "copy")  # a later one, which is not asked for
    await site.do("database-rollback", "named copy", labels={"copy": "hotel.db.20260204"})
    assert site.rows("SELECT guest FROM bookings") == ["anna", "ben"]
    assert await site.asks("database-rollback", "named copy") == ["healthy"]
    (kept,) = site.aside.glob("pre-rollback-*.sqlite")
    with closing(sqlite3.connect(kept)) as base:
        assert base.execute("SELECT count(*) FROM bookings").fetchone() == (3,)


async def test_what_was_put_aside_before_a_rollback_is_no_good_copy(site):
    shutil.copy(site.database, site.backups / "hotel.db.20260204")
    await site.do("backup-overdue", "copy")
    await site.do("database-rollback", "named copy", labels={"copy": "hotel.db.20260204"})
    site.run("DELETE FROM bookings")
    await site.do("database-corruption", "latest good copy")
    (manifest,) = [json.loads(path.read_text()) for path in site.backups.glob("*.sqlite.json")]
    assert manifest["rule"] == "hotel-assistant/backup-overdue"
    assert site.rows("SELECT count(*) FROM bookings") == [2]
