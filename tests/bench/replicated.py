"""Replicated: the core rows with PostgreSQL as the store, against SQLite in the same rounds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote

from tests.bench.ground import Ground
from tests.bench.growth import step
from tests.bench.latency import idle, sustained
from tests.bench.report import Row
from tests.bench.rules import TOLD
from tests.bench.servers import Daemon, NotMeasured, Server
from tests.bench.storm import news_of, repeats_of
from tests.servers import PASSWORD, Base, Postgres, running_postgres

OPTIONS = ("fsync=on", "synchronous_commit=on", "shared_buffers=128MB")
GROWN = 10_000  # incidents


class Databases:
    """Makes databases within one server."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._made: list[Base] = []

    def __call__(self) -> str:
        """Make one, and return its URL."""
        base = self._server.database()
        self._made.append(base)
        return f"postgresql://{base.user}:{quote(PASSWORD, safe='')}@{self._server.address}/{base.name}"

    def prove(self) -> None:
        """Raise NotMeasured when one was not used: the daemon then wrote elsewhere."""
        for base in self._made:
            if base.rows("SELECT to_regclass('incident')") == [(None,)]:
                raise NotMeasured("the daemon did not use STOPGAP_DATABASE_URL: there is no table in it")


@contextmanager
def databases() -> Iterator[Databases]:
    """Run a PostgreSQL that is as durable as it is by default."""
    try:
        with running_postgres(*OPTIONS) as server:
            yield Databases(server)
    except RuntimeError as error:
        raise NotMeasured(str(error)) from error


def rows(ground: Ground) -> list[Row]:
    """Measure a daemon on a PostgreSQL of its own."""
    with databases() as database:
        with ground.daemon("postgres", database=database) as own:
            database.prove()
            found = _storm(ground, own)
            with ground.bare() as bare:
                found += idle(bare, own, ground)
                found += sustained(bare, own, ground, min(ground.scale.rates), 5_000_000)
        found += step(ground, "postgres-growth", min(GROWN, max(ground.scale.open)), database)
        database.prove()
    return [replace(row, goal=None) for row in found]  # the goals are those of the default store


def _storm(ground: Ground, own: Daemon) -> list[Row]:
    with ground.bare() as bare, ground.daemon("sqlite") as sqlite:
        servers: dict[str, Server] = {"bare": bare, "sqlite": sqlite, "postgres": own}
        repeats = repeats_of(servers, ground)
        news = news_of({name: (server, TOLD) for name, server in servers.items()}, ground)
    return [
        repeats.row("repeats, to SQLite", "postgres", "sqlite"),
        repeats.row("  to the bare handler", "postgres", "bare"),
        news.row("new incidents, to SQLite", "postgres", "sqlite"),
        news.row("  to the bare handler", "postgres", "bare"),
        news.cpu_row("  processor time of one, to SQLite", "postgres", "sqlite"),
    ]
