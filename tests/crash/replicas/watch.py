"""Watch: what the database itself says of who leads and who writes, by triggers of its administrator, whom no fault comes near.

Each replica logs in under its own name, so that every line is known by who wrote it; each commit by the server's own clock. Who
listens is told of the beginning of a reign, and of an intent, at the moment of its commit.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from tests.crash.replicas.auditor import Intent, Reign, Written
from tests.servers import PASSWORD, Base

AGAIN = 0.05  # seconds

_INSTALL = """
    CREATE SCHEMA watch;
    CREATE TABLE watch.reign (epoch bigint PRIMARY KEY, who text, silent_since timestamptz);
    CREATE TABLE watch.resigned (epoch bigint PRIMARY KEY, at timestamptz);
    CREATE TABLE watch.written (incident text, seq integer, who text, epoch bigint);

    CREATE FUNCTION watch.leader() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        IF NEW.epoch <> OLD.epoch THEN
            INSERT INTO watch.reign VALUES (NEW.epoch, session_user, coalesce(
                (SELECT at FROM watch.resigned WHERE epoch = OLD.epoch), to_timestamp(OLD.until / 1e6 - {ttl})));
            PERFORM pg_notify('reign', session_user);
        ELSIF NEW.until = 0 THEN
            INSERT INTO watch.resigned VALUES (OLD.epoch, clock_timestamp()) ON CONFLICT DO NOTHING;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER watch AFTER UPDATE ON leader FOR EACH ROW EXECUTE FUNCTION watch.leader();

    CREATE FUNCTION watch.journal() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        INSERT INTO watch.written VALUES (NEW.incident, NEW.seq, session_user, (SELECT epoch FROM public.leader));
        IF NEW.kind = 'step_started' THEN
            PERFORM pg_notify('intent', session_user);
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER watch AFTER INSERT ON journal FOR EACH ROW EXECUTE FUNCTION watch.journal();

    INSERT INTO watch.reign SELECT epoch, '{first}', NULL FROM leader WHERE epoch > 0;
"""


class Watch:
    """Watches one database."""

    def __init__(self, base: Base, ttl: float) -> None:
        self.base = base
        self.leader = ""  # who was the last to take over
        self.on_intent: Callable[[str], None] = lambda _who: None
        self._ttl = ttl

    def admit(self, who: str) -> str:
        """Let a replica log in under its own name, with the rights of the owner; returns its name."""
        user = f"{self.base.name}_{who}"
        with self.base.connect(self.base.name) as admin:
            word = PASSWORD.replace("'", "''")
            admin.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{word}' IN ROLE {self.base.user}")
            admin.execute(f"ALTER ROLE {user} SET role = '{self.base.user}'")
        return user

    def install(self, first: str) -> None:
        """Begin to watch; `first` leads, or nobody has."""
        self.base.run(_INSTALL.format(ttl=self._ttl, first=self._user(first)))
        self.leader = first

    def there(self) -> bool:
        """Tell whether the tables are there, and somebody leads."""
        if self.base.rows("SELECT to_regclass('public.leader')") == [(None,)]:
            return False
        return bool(self.base.rows("SELECT 1 FROM leader WHERE epoch > 0"))

    async def listen(self) -> None:
        """Hear of reigns and intents, until cancelled; a restart of the database is survived."""
        while True:
            with suppress(psycopg.Error):
                connection = await psycopg.AsyncConnection.connect(
                    host="127.0.0.1",
                    port=self.base.server.port,
                    user="postgres",
                    password=PASSWORD,
                    dbname=self.base.name,
                    autocommit=True,
                )
                async with connection:
                    await connection.execute("LISTEN reign; LISTEN intent")
                    last = await connection.execute("SELECT who FROM watch.reign ORDER BY epoch DESC LIMIT 1")
                    if row := await last.fetchone():
                        self.leader = self._who(row[0])
                    async for told in connection.notifies():
                        self._hear(told.channel, self._who(told.payload))
            await asyncio.sleep(AGAIN)

    def _hear(self, channel: str, who: str) -> None:
        if channel == "reign":
            self.leader = who
        else:
            self.on_intent(who)

    def _user(self, who: str) -> str:
        return f"{self.base.name}_{who}"

    def _who(self, user: str) -> str:
        return user.removeprefix(f"{self.base.name}_")

    # --- afterwards ---

    def reigns(self) -> list[Reign]:
        """Return who led from when on, and since when nobody had been heard of."""
        asked = f"SELECT epoch, who, {_micros('pg_xact_commit_timestamp(xmin)')}, {_micros('silent_since')}"
        rows = self.base.rows(f"{asked} FROM watch.reign ORDER BY epoch")
        return [Reign(epoch, self._who(who), began, silent) for epoch, who, began, silent in rows]

    def intents(self) -> list[Intent]:
        """Return every intent, and when it was on disk."""
        asked = f"SELECT detail, {_micros('pg_xact_commit_timestamp(xmin)')} FROM journal"
        return [
            Intent(_json(row[0])["key"], row[1]) for row in self._rows(f"{asked} WHERE kind = 'step_started'")
        ]

    def written(self) -> list[Written]:
        """Return who wrote each line, and the epoch that the database had then."""
        return [
            Written(incident, seq, self._who(who), epoch)
            for incident, seq, who, epoch in self._rows("SELECT incident, seq, who, epoch FROM watch.written")
        ]

    def left_over(self) -> tuple[int, int]:
        """Return how many incidents are live, and how many letters wait."""
        ((live, letters),) = self._rows(
            "SELECT (SELECT count(*) FROM incident WHERE closed_at IS NULL), (SELECT count(*) FROM inbox)"
        )
        return live, letters

    def left_to_people(self) -> list[str]:
        """Return the live incidents that automation does not end by itself."""
        asked = (
            "SELECT DISTINCT j.incident FROM journal j JOIN incident i ON i.id = j.incident"
            " WHERE i.closed_at IS NULL AND (j.kind = 'handed_over' OR j.kind = 'probe_unknown')"
        )
        return [name for (name,) in self._rows(asked)]

    def _rows(self, asked: str) -> Sequence[tuple[Any, ...]]:
        return self.base.rows(asked)


def _micros(instant: str) -> str:
    return f"(extract(epoch FROM {instant}) * 1000000)::bigint"


def _json(text: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(text)
    return found
