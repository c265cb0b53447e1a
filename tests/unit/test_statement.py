"""A statement is understood as far as bounding it needs, alike for every database, and refused where that cannot be."""

import pytest

from stopgap.backends.statement import Change, Kind, parse_statement


def kind(text: str) -> Kind:
    return parse_statement(text).kind


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE t SET a = 1 WHERE b",
        "delete from t where a < now() - interval '1 hour';",
        "INSERT INTO t VALUES (1)",
        "replace into t values (1)",
        "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DO NOTHING",
        "WITH old AS (SELECT 1) DELETE FROM t WHERE a IN (SELECT * FROM old)",
        "/* why */ UPDATE t SET a = 1 -- all\n WHERE b",
    ],
)
def test_what_changes_rows_can_be_rolled_back(text):
    assert kind(text) is Kind.ROWS
    assert parse_statement(text).transactional


@pytest.mark.parametrize(
    "text",
    [
        "VACUUM",
        "vacuum full",
        "ANALYZE guests",
        "REINDEX DATABASE bookgen",
        "OPTIMIZE TABLE t",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA journal_mode = WAL",
        "SET GLOBAL max_connections = 300",
        "SET @@GLOBAL.max_connections = :n",
        "SET PERSIST max_connections = 300",
        "KILL 7",
        "ALTER SYSTEM SET log_min_duration_statement = 1000",
    ],
)
def test_upkeep_is_done_by_itself(text):
    assert kind(text) is Kind.UPKEEP
    assert not parse_statement(text).transactional


@pytest.mark.parametrize(
    "text",
    [
        "ANALYZE DELETE FROM t WHERE a",
        "ANALYZE FORMAT=JSON UPDATE t SET a = 1",
        "VACUUM INTO '/etc/x'",
        "DROP TABLE t",
        "TRUNCATE t",
        "DELETE FROM t",
        "UPDATE t SET a = 1",
        "DELETE FROM t LIMIT 5",
        "DELETE FROM t RETURNING (SELECT 1 FROM u WHERE a)",
        "ALTER TABLE t DROP COLUMN a",
        "GRANT ALL ON t TO x",
        "SELECT * INTO u FROM t",
        "SELECT * FROM t INTO OUTFILE '/x'",
        "CALL everything()",
        "DO $$ BEGIN DELETE FROM t; END $$",
        "SET PASSWORD = 'x'",
        "PRAGMA writable_schema = 1",
        "EXPLAIN ANALYZE DELETE FROM t WHERE a",
        "COPY t FROM '/x'",
        "WITH x AS (SELECT 1) frob",
        "frobnicate",
    ],
)
def test_what_is_not_known_to_be_harmless_is_destructive(text):
    assert kind(text) is Kind.DESTRUCTIVE


@pytest.mark.parametrize(
    "text", ["SELECT 1", "SHOW TABLES", "PRAGMA integrity_check", "WITH x AS (SELECT 1) SELECT *"]
)
def test_a_question_only_looks(text):
    assert parse_statement(text).looks


@pytest.mark.parametrize(
    "text", ["PRAGMA journal_mode = WAL", "UPDATE t SET a = 1 WHERE b", "VACUUM", "SELECT 1 INTO x"]
)
def test_what_changes_something_is_no_question(text):
    assert not parse_statement(text).looks


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no statement"),
        (" ; ", "no statement"),
        ("SELECT 1; DROP TABLE t", "two statements"),
        ("SELECT 'a", "' that is not closed"),
        ('SELECT "a', '" that is not closed'),
        ("SELECT `a", "` that is not closed"),
        ("SELECT 'a\\' OR 1=1 --'", "backslash before a quote"),
        ("SELECT 1 # all", "write comments as"),
        ("SELECT 1 --all", "no plain comment"),
        ("SELECT /*! 1 */ 2", "no plain comment"),
        ("SELECT /*M! 1 */ 2", "no plain comment"),
        ("SELECT /* a /* b */ 1", "comment within a comment"),
        ("SELECT (1", "parentheses"),
        ("SELECT 1)", "parentheses"),
        ("WITH gone AS (DELETE FROM t RETURNING a) SELECT * FROM gone", "DELETE within"),
        ("SELECT '\0'", "NUL"),
        ("SELECT " + "1," * 20_000, "longer than"),
    ],
)
def test_what_databases_read_differently_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        parse_statement(text)


def test_names_are_bound_and_nothing_else_is_taken_for_one():
    text = "SELECT a::text, 'x :no', \":no\", x[1:2], t[a:b], $q$ :no $q$, '%' -- :no\nFROM t WHERE a = :yes /* :no */ % 2"
    statement = parse_statement(text)
    assert statement.names == {"yes"}
    assert statement.render(lambda name: f"%({name})s", percent=True) == (
        "SELECT a::text, 'x :no', \":no\", x[1:2], t[a:b], $q$ :no $q$, '%%'\nFROM t WHERE a = %(yes)s %% 2"
    )
    assert statement.render(lambda name: f":{name}", percent=False).endswith("WHERE a = :yes % 2")


def test_json_operators_are_no_comments():
    assert kind("SELECT a #> '{x}', a #>> '{y}' FROM t") is Kind.READ


@pytest.mark.parametrize(
    ("text", "change"),
    [
        (
            "UPDATE public.\"Jobs\" SET status = 'failed', note = f(a, b), n = (1, 2) WHERE a = :x AND (b OR c) -- old",
            Change('public."Jobs"', ("status", "note", "n"), "a = :x AND (b OR c)"),
        ),
        ("DELETE FROM logs WHERE at < now()", Change("logs", (), "at < now()")),
    ],
)
def test_a_plain_change_is_taken_apart(text, change):
    assert parse_statement(text).change == change


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE t AS x SET a = 1 WHERE b",
        "UPDATE t x SET a = 1 WHERE b",
        "UPDATE t SET a = 1 FROM u WHERE t.i = u.i",
        "UPDATE t, u SET a = 1 WHERE b",
        "UPDATE t SET (a, b) = (1, 2) WHERE c",
        "UPDATE t SET x.a = 1 WHERE c",
        "UPDATE t SET a = 1 WHERE b LIMIT 5",
        "UPDATE t SET a = 1",
        "DELETE FROM t USING u WHERE t.i = u.i",
        "DELETE FROM t, u WHERE a",
        "DELETE t FROM t WHERE a",
        "DELETE FROM t WHERE a RETURNING b",
        "DELETE FROM t WHERE a ORDER BY b",
        "INSERT INTO t VALUES (1)",
        "WITH x AS (SELECT 1) DELETE FROM t WHERE a",
    ],
)
def test_what_is_more_than_plain_is_not_saved(text):
    with pytest.raises(ValueError, match=r"can be saved|cannot be saved"):
        _ = parse_statement(text).change


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ('UPDATE Public."Jobs" SET a = 1 WHERE b', "public.jobs"),
        ("DELETE FROM `logs` WHERE a", "logs"),
        ("INSERT INTO t (a) VALUES (1)", "t"),
        ("WITH x AS (SELECT 1) UPDATE t SET a = 1 WHERE b", "t"),
        ("SET GLOBAL Max_Connections = 3", "@@max_connections"),
        ("SET @@GLOBAL.Max_Connections = 3", "@@max_connections"),
        ("ALTER SYSTEM SET work_mem = '1MB'", "@@work_mem"),
        ("VACUUM", ""),
        ("SELECT pg_terminate_backend(1)", ""),
    ],
)
def test_what_is_changed_has_a_name(text, subject):
    assert parse_statement(text).subject == subject


def test_it_prints_on_one_line():
    assert str(parse_statement("SELECT\n  1\n;")) == "SELECT 1"
