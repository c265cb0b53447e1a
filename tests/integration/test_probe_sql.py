"""The sql probe against real databases: each cell of its row in the table of verdicts."""

import asyncio
import os
import re
import resource
import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing
from datetime import timedelta

import pytest
from pydantic import SecretStr, ValidationError
from tests.servers import PASSWORD, running_postgres

from stopgap.errors import ProbeError
from stopgap.probe import Verdict
from stopgap.probes.sql import Sql, SqlParams

LONG, SHORT = timedelta(seconds=10), timedelta(milliseconds=400)
ONE = {"query": "SELECT 1", "is": "== 1"}


async def ask(at, timeout=LONG, **given):
    return await Sql(None).ask(SqlParams.model_validate({"at": at, **given}), timeout)


@pytest.fixture
def hotel(tmp_path):
    path = tmp_path / "hotel.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE jobs (id INTEGER, status TEXT)")
        db.executemany("INSERT INTO jobs VALUES (?, ?)", [(1, "done"), (2, "failed"), (3, None)])
    return path


@pytest.mark.parametrize(
    ("query", "wanted", "verdict", "why"),
    [
        ("SELECT count(*) FROM jobs", "== 3", "healthy", "SELECT count(*) FROM jobs = 3, wanted == 3"),
        ("SELECT count(*) FROM jobs", "< 3", "unhealthy", "= 3, wanted < 3"),
        ("PRAGMA integrity_check", '== "ok"', "healthy", "= 'ok'"),
        ("SELECT status FROM jobs WHERE id < 3", '== "done"', "unhealthy", "1 of 2 rows: SELECT"),
        ("SELECT id FROM jobs", "> 0", "healthy", "3 of 3 rows"),
        (
            "SELECT status FROM jobs",
            '!= "lost"',
            "unknown",
            "1 of 3 rows: SELECT status FROM jobs = None, which is no text",
        ),
        ("SELECT id FROM jobs WHERE id = 9", "== 1", "unknown", "no row"),
        ("SELECT NULL", "== 1", "unknown", "no number to compare with == 1: cast it"),
        ("SELECT '5'", "== 5", "unknown", "= '5', which is no number"),
        ("SELECT 5", '== "5"', "unknown", "which is no text"),
        ("SELECT id, status FROM jobs", "== 1", "unknown", "2 columns, wanted one"),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c",
            "> 0",
            "unknown",
            "more than 1000",
        ),
        ("SELECT 1 FROM nowhere", "== 1", "unhealthy", "no such table: nowhere"),
        ("SELECT FROM WHERE", "== 1", "unknown", "syntax error"),
    ],
)
async def test_an_answer_is_judged_row_by_row(hotel, query, wanted, verdict, why):
    found = await ask(f"sqlite://{hotel}", query=query, **{"is": wanted})
    assert (found.verdict, why in found.why) == (verdict, True), found


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
async def test_the_servers_answer_with_their_own_types(request, kind):
    base = request.getfixturevalue("mariadb" if kind == "mysql" else kind).database()
    common = {"password": SecretStr(PASSWORD)}
    asked = {
        "SELECT 2.50": "== 2.5",
        "SELECT 1 = 1": "== 1",
        "SELECT 'ok'": '== "ok"',
        "SELECT cast('2026-01-02' AS date)": '== "2026-01-02"',
        "SELECT :n + 1": "== 3",
        "SELECT '10%'": '== "10%"',
    }
    for query, wanted in asked.items():
        values = {"n": 2} if ":n" in query else {}
        found = await ask(base.locator, query=query, values=values, **common, **{"is": wanted})
        assert found.verdict is Verdict.HEALTHY, found
    missing = await ask(base.locator, query="SELECT 1 FROM nowhere", **common, **{"is": "== 1"})
    wrong = await ask(base.locator, query="SELECT FROM WHERE 1", **common, **{"is": "== 1"})
    assert (missing.verdict, wrong.verdict) == (Verdict.UNHEALTHY, Verdict.UNKNOWN)
    denied = await ask(base.locator, password=SecretStr("hunter2"), **ONE)
    assert denied.verdict is Verdict.UNKNOWN
    assert "hunter2" not in denied.why
    base.run("CREATE TABLE guests (a integer)")
    admin = "GRANT SELECT (a) ON guests TO" if kind == "postgres" else ""
    if admin:
        refused = await ask(base.locator, query="SELECT count(*) FROM guests", **common, **{"is": "== 0"})
        assert refused.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
async def test_a_server_that_refuses_is_unhealthy_and_a_name_that_does_not_resolve_is_unknown(kind):
    refused = await ask(f"{kind}://app@127.0.0.1:1/x", **ONE)
    assert refused.verdict is Verdict.UNHEALTHY
    with pytest.raises(ProbeError, match="does not resolve"):
        await ask(f"{kind}://app@nowhere.invalid/x", **ONE)
    option = "host=/nowhere" if kind == "postgres" else "unix_socket=/nowhere/x.sock"
    assert (await ask(f"{kind}://app@/x?{option}", **ONE)).verdict is Verdict.UNHEALTHY


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
async def test_a_server_that_is_silent_is_unhealthy_in_time(kind):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        began = time.monotonic()
        found = await ask(f"{kind}://app@127.0.0.1:{server.getsockname()[1]}/x", SHORT, **ONE)
        assert found.verdict is Verdict.UNHEALTHY
        assert time.monotonic() - began < 2


async def test_a_query_that_takes_too_long_is_unhealthy_in_time(hotel, postgres):
    began = time.monotonic()
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT max(x) FROM c"
    base = postgres.database()
    found = await asyncio.gather(
        ask(f"sqlite://{hotel}", SHORT, query=endless, **{"is": "== 1"}),
        ask(base.locator, SHORT, query="SELECT pg_sleep(9)", password=SecretStr(PASSWORD), **{"is": "== 1"}),
    )
    assert [each.verdict for each in found] == [Verdict.UNHEALTHY] * 2
    assert time.monotonic() - began < 4


async def test_a_server_that_starts_or_is_full_is_unhealthy():
    with running_postgres(
        "max_connections=4", "superuser_reserved_connections=0", "max_wal_senders=0"
    ) as server:
        base = server.database()
        taken = [base.connect(base.name) for _ in range(4)]
        full = await ask(base.locator, password=SecretStr(PASSWORD), **ONE)
        for each in taken:
            each.close()
        assert full.verdict is Verdict.UNHEALTHY
        server.stop()
        assert (await ask(base.locator, password=SecretStr(PASSWORD), **ONE)).verdict is Verdict.UNHEALTHY
        server.start()
        assert (await ask(base.locator, password=SecretStr(PASSWORD), **ONE)).verdict is Verdict.HEALTHY


async def test_a_file_that_is_missing_is_unknown_and_is_not_made(tmp_path):
    path = tmp_path / "gone.db"
    assert (await ask(f"sqlite://{path}", **ONE)).verdict is Verdict.UNKNOWN
    assert not path.exists()


async def test_a_file_that_is_locked_or_damaged_is_unhealthy(hotel):
    with closing(sqlite3.connect(hotel, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        locked = await ask(f"sqlite://{hotel}", SHORT, query="SELECT count(*) FROM jobs", **{"is": "== 3"})
        assert locked.verdict is Verdict.UNHEALTHY
    whole = hotel.read_bytes()
    check = {"query": "PRAGMA integrity_check", "is": '== "ok"'}
    for broken in (b"no database" * 1000, whole[:4096] + b"\xff" * (len(whole) - 4096)):
        hotel.write_bytes(broken)
        found = await ask(f"sqlite://{hotel}", **check)
        assert found.verdict is Verdict.UNHEALTHY, found


async def test_nothing_can_be_changed_by_a_question(hotel, postgres):
    for query in ("DELETE FROM jobs WHERE id = 1", "VACUUM", "PRAGMA user_version = 5", "SELECT 1; SELECT 2"):
        with pytest.raises(ValidationError, match=r"changes nothing|two statements"):
            SqlParams.model_validate({"at": f"sqlite://{hotel}", "query": query, "is": "== 1"})
    base = postgres.database()
    base.run(
        "CREATE TABLE t (a integer)",
        "CREATE FUNCTION sly() RETURNS integer LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING a'",
        f"GRANT ALL ON t TO {base.user}",
    )
    found = await ask(base.locator, query="SELECT sly()", password=SecretStr(PASSWORD), **{"is": "== 1"})
    assert "read-only" in found.why
    assert base.rows("SELECT * FROM t") == []


def test_what_is_asked_is_described_without_secrets(hotel):
    params = SqlParams.model_validate(
        {"at": SecretStr("postgres://u:hunter2@db/x"), "password": SecretStr("hunter2"), **ONE}
    )
    assert Sql(None).describe(params) == "sql ***: SELECT 1 == 1"
    assert "hunter2" not in repr(params)
    plain = SqlParams.model_validate({"at": "postgres://u@db/x", **ONE})
    assert re.fullmatch(r"sql postgres:db:5432/x: SELECT 1 == 1", Sql(None).describe(plain))


@pytest.fixture
def no_descriptors():
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.dup(0)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, old)


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
async def test_what_this_machine_lacks_says_nothing_of_the_server(kind, request):
    port = request.getfixturevalue({"mysql": "mariadb"}.get(kind, kind)).port
    at = f"{kind}://app@127.0.0.1:{port}/x"
    await ask(at, **ONE)  # loads the client
    request.getfixturevalue("no_descriptors")
    found = await ask(at, **ONE)
    assert found.verdict is Verdict.UNKNOWN, found


async def test_a_certificate_that_is_missing_here_says_nothing_of_the_server(mariadb):
    async def has_tls(reader, writer):
        await reader.readexactly(8)
        writer.write(b"S")
        await reader.read()
        writer.close()

    postgres = await asyncio.start_server(has_tls, "127.0.0.1", 0)
    async with postgres:
        port = postgres.sockets[0].getsockname()[1]
        for at in (
            f"postgres://app@127.0.0.1:{port}/x?sslmode=verify-ca&sslrootcert=/nowhere",
            f"mysql://app@{mariadb.address}/x?ssl_ca=/nowhere",
        ):
            found = await ask(at, **ONE)
            assert found.verdict is Verdict.UNKNOWN, found


async def test_a_thread_is_free_again_though_the_server_never_answers(tmp_path):
    with running_postgres() as server:
        base = server.database()
        given = {"query": "SELECT pg_sleep(1)", "is": '== ""', "password": SecretStr(PASSWORD)}
        asking = asyncio.create_task(ask(base.locator, timedelta(seconds=1), **given))
        while not base.rows("SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1)'"):
            await asyncio.sleep(0.01)
        with server.connect() as admin:
            pid = admin.execute(
                "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(1)'"
            ).fetchone()[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            assert (await asking).verdict is Verdict.UNHEALTHY
            ends = time.monotonic() + 6
            while time.monotonic() < ends and any(t.name == "database" for t in threading.enumerate()):
                await asyncio.sleep(0.05)
            assert not [t for t in threading.enumerate() if t.name == "database"]
        finally:
            os.kill(pid, signal.SIGCONT)
