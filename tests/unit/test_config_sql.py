"""Rules with SQL: what can destroy needs an approval, and nothing of an alert gets into a statement."""

from types import SimpleNamespace

import pytest
from tests.catalog_fakes import CATALOG
from tests.rule_files import SITE, rule, write

from stopgap.action import Danger
from stopgap.actions import Sql
from stopgap.catalog import Catalog, danger_of
from stopgap.config import build_rule, load
from stopgap.errors import ConfigError

SQL = Sql(None)
KNOWS_SQL = Catalog({**CATALOG.actions, "sql": SQL}, CATALOG.probes)
AT = "at: sqlite:///srv/x.db"
PACK = "name: p\nvars: {table: jobs}\nsecrets: [key, dsn]"


def loaded(tmp_path, sql: str, more: str = ""):
    body = rule(f"ladder: [{{name: x, do: [{{sql: {{{sql}}}}}]{more}}}]")
    files = {"site.yaml": SITE, "p/pack.yaml": PACK, "p/a.yaml": body}
    environ = {
        "CHAT": "json://chat",
        "STOPGAP_SECRET_KEY": "hunter2",
        "STOPGAP_SECRET_DSN": "mysql://u:hunter2@db/x",
    }
    (one,) = load(write(tmp_path, files), KNOWS_SQL, environ=environ).rules
    assert build_rule(one.document, KNOWS_SQL) == one
    return one


def refused(tmp_path, sql: str, more: str = "") -> str:
    with pytest.raises(ConfigError) as told:
        loaded(tmp_path, sql, more)
    assert len(told.value.problems) == 1, told.value
    return str(told.value)


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE jobs", "TRUNCATE jobs", "[VACUUM, DROP TABLE jobs]", "ANALYZE, revert: DROP TABLE jobs"],
)
@pytest.mark.parametrize("at", [AT, 'at: "{{ secrets.dsn }}"', 'at: "{{ labels.db }}"'])
def test_what_destroys_does_not_load_without_an_approval(tmp_path, statement, at):
    assert "`sql` is destructive and needs an approval" in refused(tmp_path, f"{at}, statement: {statement}")
    (rung,) = loaded(tmp_path, f"{at}, statement: {statement}", ", approval: 15m").ladder
    assert rung.once


@pytest.mark.parametrize("statement", ["DELETE FROM jobs", "UPDATE jobs SET a = 1"])
def test_a_change_without_where_is_destructive_within_its_bound_too(tmp_path, statement):
    assert "needs an approval" in refused(tmp_path, f"{AT}, statement: {statement}, max_rows: 5")


@pytest.mark.parametrize(
    "sql",
    [
        "statement: DELETE FROM jobs WHERE a < 1, max_rows: 5000",
        "statement: 'DELETE FROM {{ vars.table }} WHERE a < :a', values: {a: 1}, max_rows: 5000",
        "statement: 'DELETE FROM jobs WHERE a = :a', values: {a: '{{ labels.job }}'}, max_rows: 5",
        "statement: [VACUUM, ANALYZE]",
    ],
)
def test_what_is_bounded_needs_no_approval(tmp_path, sql):
    (rung,) = loaded(tmp_path, f"{AT}, {sql}").ladder
    assert rung.approval is None
    assert not rung.once


@pytest.mark.parametrize("reference", ["labels.job", "annotations.x", "target", "incident.id"])
@pytest.mark.parametrize(
    "sql",
    [
        "statement: 'DELETE FROM jobs WHERE a = {{ %s }}', max_rows: 5",
        "statement: [ANALYZE, 'ANALYZE {{ %s }}']",
        "statement: ANALYZE, observe: 'SELECT {{ %s }}'",
        "statement: ANALYZE, revert: 'SET GLOBAL x = {{ %s }}'",
    ],
)
def test_nothing_but_vars_stands_in_a_statement(tmp_path, sql, reference):
    said = refused(tmp_path, f"{AT}, {sql % reference}")
    assert f"{reference} cannot stand here, use vars only" in said


def test_a_secret_stands_in_no_statement(tmp_path):
    with pytest.raises(ConfigError, match="a secret cannot stand here"):
        loaded(tmp_path, f"{AT}, statement: 'ANALYZE {{{{ secrets.key }}}}'")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("statement: DELETE FROM jobs WHERE a = 1", "DELETE has no bound: add max_rows"),
        ("statement: INSERT INTO jobs VALUES (1)", "INSERT has no bound: add max_rows"),
        ("statement: SELECT 1; SELECT 2", "two statements, write a list"),
        ("statement: SELECT :a", ":a has no value: add it to values"),
        ("statement: 'SELECT :a', values: {a: 1, b: 2}", "no statement has :b: remove it from values"),
        (
            "statement: [VACUUM, SELECT 1]",
            "VACUUM cannot be one of a transaction, write a step of its own for it",
        ),
        ("statement: VACUUM, revert: [VACUUM, SELECT 1]", "VACUUM cannot be one of a transaction"),
        ("statement: VACUUM, observe: VACUUM", "observe is no SELECT, write one"),
        ("statement: VACUUM, revert: 'SET GLOBAL a = :b'", ":b has no value"),
        (
            "statement: DELETE FROM jobs WHERE a = 1, max_rows: 5, save: id, observe: SELECT 1",
            "write either save, or",
        ),
        ("statement: DELETE FROM jobs WHERE a = 1, max_rows: 5001, save: id", "at most 5000"),
        ("statement: UPDATE jobs SET ID = 2 WHERE a = 1, max_rows: 5, save: id", "cannot be found again"),
        ("statement: UPDATE jobs AS x SET a = 2 WHERE a = 1, max_rows: 5, save: id", "can be saved"),
        ("statement: DELETE FROM jobs WHERE a = 1, max_rows: 5, save: 'id; DROP'", "save"),
        ("statement: []", "statement"),
    ],
)
def test_what_is_wrong_with_sql_is_said(tmp_path, sql, said):
    assert said in refused(tmp_path, f"{AT}, {sql}")


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("postgres://u:hunter2@db/x", "a locator holds no credentials"),
        ("postgres://u@db", "lacks a host or a database"),
        ("postgres://u@db:99999/x", "is no address"),
        ("postgres://u@a,b/x", "is no address"),
        ("postgres://u@db/x?sslmod=require", "has no option 'sslmod'"),
        ("mysql://u@/x", "lacks a host"),
        ("env:///etc/x.env", "cannot run SQL, write one of sqlite:///srv/hotel.db"),
        ("sqlite://host/x.db", "has a name after ://"),
        ("oracle://x", "there is no backend for oracle"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(tmp_path, at, said):
    found = refused(tmp_path, f"at: '{at}', statement: ANALYZE")
    assert said in found
    assert "hunter2" not in found


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
    from stopgap.backends import dsn

    monkeypatch.setattr(dsn, "_installed", lambda module: False)
    for scheme, library in (("postgres", "psycopg"), ("mysql", "pymysql")):
        said = refused(tmp_path, f"at: {scheme}://u@db/x, statement: ANALYZE")
        assert f"the library {library} is not installed: pip install 'stopgap[{scheme}]'" in said


def test_an_action_of_others_may_not_tell_by_its_parameters():
    theirs = SimpleNamespace(danger=Danger.NONE)
    assert danger_of(theirs, {}) is Danger.NONE
    assert danger_of(CATALOG.actions["wipe"], {}) is Danger.DESTRUCTIVE
    assert danger_of(SQL, "no parameters at all") is Danger.BOUNDED
    assert danger_of(SQL, {"statement": 5}) is Danger.BOUNDED
    assert danger_of(SQL, {"statement": "'"}) is Danger.BOUNDED  # does not load for another reason
    assert danger_of(SQL, {"statement": "DROP TABLE x"}) is Danger.DESTRUCTIVE
