"""The daemon prunes by itself what is past its retention, and tells it in its metrics."""

import sqlite3
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta

from tests.prometheus_server import free_port

from stopgap.alert import Alert
from stopgap.app import App
from stopgap.orders import Orders
from stopgap.settings import Settings
from stopgap.store import DATABASE

RULES = 'rules: [{name: tell, match: alertname="Down", ladder: []}]'
HUNDRED_DAYS = timedelta(days=100) // timedelta(microseconds=1)


@asynccontextmanager
async def running(folder, **more):
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules" / "shop.yaml").write_text(RULES)
    listen = f"127.0.0.1:{free_port()}"
    app = App(Settings(rules=folder / "rules", data=folder / "data", listen=listen, var=(), vars=(), **more))
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


def alert(*, firing: bool) -> Alert:
    now = datetime.now(UTC)
    return Alert({"alertname": "Down"}, {}, now, None if firing else now, firing, "", "f1")


async def close_one(app: App) -> str:
    await app.engine.receive([alert(firing=True)])
    (name,) = app.engine.incidents
    await Orders(app.engine, app.clock).close(name, by="me", why="x", keep=False)
    await app.engine.receive([alert(firing=False)])
    return name


def age(folder) -> None:
    """Let everything have happened a hundred days earlier."""
    with closing(sqlite3.connect(folder / "data" / DATABASE)) as connection:
        for table, columns in (("incident", ("opened_at", "closed_at")), ("journal", ("at",))):
            for column in columns:
                connection.execute(f"UPDATE {table} SET {column} = {column} - {HUNDRED_DAYS}")
        connection.commit()


async def test_a_closed_incident_goes_after_ninety_days_and_is_counted(tmp_path):
    async with running(tmp_path) as app:
        old = await close_one(app)
    age(tmp_path)
    async with running(tmp_path) as app:
        young = await close_one(app)
        assert await app.store.timeline(old)
        done = await app.pruner.round()
        assert (done.incidents, done.documents) == (1, 0)
        assert not await app.store.timeline(old)
        assert await app.store.timeline(young)
        told = app.metrics.render().decode()
        assert "stopgap_incidents_pruned_total 1.0" in told
        (line,) = [line for line in told.splitlines() if line.startswith("stopgap_journal_oldest")]
        assert abs(float(line.split()[1]) - datetime.now(UTC).timestamp()) < 60


async def test_with_a_retention_of_nothing_it_stays(tmp_path):
    async with running(tmp_path) as app:
        old = await close_one(app)
    age(tmp_path)
    async with running(tmp_path, retention="0") as app:
        assert (await app.pruner.round()).incidents == 0
        assert await app.store.timeline(old)
