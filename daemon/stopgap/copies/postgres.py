"""Postgres: a database of a PostgreSQL server, by its own pg_dump, pg_restore and psql.

It is put back into a new database, which then takes the name of the live one in one transaction; the old one keeps its data under
another name. The user must own the database and may create databases (CREATEDB), or be a superuser.
"""

import asyncio
import re
from datetime import timedelta
from pathlib import Path

from stopgap.copies import script
from stopgap.copies.original import Original, State
from stopgap.copies.server import Server
from stopgap.copies.tool import Tool, feed
from stopgap.errors import PermanentError

_PORT = 5432
_MAINTENANCE = "postgres"
_CUSTOM = b"PGDMP"
_TRIES = 5  # at an exchange, while clients come back
_CLOSING = re.compile(rb"^-- PostgreSQL database dump complete", re.MULTILINE)
_ELSEWHERE = re.compile(
    rb"\\(?:connect|c |!|i |ir |include|o |w |g |gexec|cd |setenv|copy)|(?i:(?:create|drop|alter) database) "
)

_CREATE = """
DROP DATABASE IF EXISTS :"stage";
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L', :'stage',
  pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype) FROM pg_database WHERE datname = :'live'
UNION ALL SELECT format('CREATE DATABASE %I TEMPLATE template0', :'stage')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'live') \\gexec
"""
_SETTLE = """
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'stage') FROM pg_database
  WHERE datname = :'live' AND datacl IS NOT NULL \\gexec
SELECT format('GRANT %s ON DATABASE %I TO %s%s', privilege_type, :'stage',
  CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
  CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_database, aclexplode(datacl) WHERE datname = :'live' AND grantee <> datdba \\gexec
SELECT format('ALTER %s SET %I TO %s',
  CASE WHEN setrole = 0 THEN format('DATABASE %I', :'stage')
    ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), :'stage') END,
  split_part(one, '=', 1),
  CASE WHEN split_part(one, '=', 1)
      IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
    THEN substr(one, strpos(one, '=') + 1)
    ELSE quote_literal(substr(one, strpos(one, '=') + 1)) END)
  FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase, unnest(setconfig) AS one
  WHERE datname = :'live' \\gexec
"""
_DROP = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name LIKE 'stopgap%'
  AND (datname = :'stage' OR strpos(query, :'stage') > 0);
DROP DATABASE IF EXISTS :"stage";
"""
_EXCHANGE = """
BEGIN;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname IN (:'live', :'fresh') AND pid <> pg_backend_pid() AND backend_type = 'client backend';
SELECT format('ALTER DATABASE %I RENAME TO %I', :'live', :'away') FROM pg_database WHERE datname = :'live' \\gexec
"""
_COME = 'ALTER DATABASE :"fresh" RENAME TO :"live";\n'  # fails, and so undoes the other, where there is none
_DONE = "COMMIT;\n"


class Postgres(Original):
    """One database. A copy is pg_dump's own format; what others made may be plain SQL, compressed or not."""

    schemes = ("postgres", "postgresql")
    example = "postgres://user@host/database"
    kind = "postgres"
    suffix = ".dump"

    def __init__(self, locator: str, password: str | None = None) -> None:
        self._server = Server.parse(locator, "postgres", _PORT, "host")
        env = {"PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "stopgap", "LC_MESSAGES": "C"}
        hidden = () if password is None else (password,)
        self._tool = Tool(
            env | ({"PGPASSWORD": password} if password else {}), "install postgresql-client", hidden
        )

    @property
    def name(self) -> str:
        """Name it as a resource."""
        return self._server.name

    @property
    def title(self) -> str:
        """Return the name of the database."""
        return self._server.database

    def aside(self, mark: str) -> str:
        """Say under which name the old database is kept."""
        return f"database {self._server.beside('before', mark)}"

    async def try_tools(self) -> None:
        """See that its programs are there."""
        for program in ("pg_dump", "pg_restore", "psql"):
            await asyncio.to_thread(self._tool.find, program)

    async def size(self, within: timedelta) -> int:
        """Ask the server how large it is: a dump is smaller."""
        return int(await self._ask("SELECT pg_database_size(:'live');", within))

    async def copy(self, to: Path, within: timedelta, *, evidence: bool) -> None:  # noqa: ARG002 - there is one way to dump
        """Dump it, from one snapshot."""
        argv = [
            "pg_dump",
            *self._whence(),
            "-Fc",
            "--lock-wait-timeout=60s",
            f"--file={to}",
            self._server.database,
        ]
        await self._tool.run(argv, within)

    async def prove(self, copy: Path, within: timedelta) -> None:
        """Let pg_restore list a dump; look for the end of plain SQL, and for what would leave the database."""
        if await asyncio.to_thread(_is_custom, copy):
            await self._tool.run(["pg_restore", "--list", str(copy)], within)
        else:
            await script.prove(copy, _CLOSING, _ELSEWHERE, within)

    # --- putting back ---

    async def state(self, mark: str, within: timedelta) -> State:
        """See which database is live, by its oid, and whether an old one is aside."""
        query = "SELECT datname, oid FROM pg_database WHERE datname IN (:'live', :'aside');"
        lines = (await self._ask(query, within, mark)).splitlines()
        found = dict(line.rsplit("|", 1) for line in lines)
        return State(found.get(self._server.database), self._server.beside("before", mark) in found)

    async def stage(self, copy: Path, mark: str, within: timedelta) -> None:
        """Restore into a new database that has the owner, the encoding, the rights and the settings of the live one."""
        stage = self._server.beside("stage", mark)
        await self._ask(_CREATE, within, mark)
        await self._load(copy, stage, within)
        await self._ask(_SETTLE, within, mark)
        await self._tool.run(self._psql(stage), within, b"ANALYZE;")

    async def _load(self, copy: Path, stage: str, within: timedelta) -> None:
        if await asyncio.to_thread(_is_custom, copy):
            argv = ["pg_restore", *self._whence(), "--exit-on-error", f"--dbname={stage}", str(copy)]
            await self._tool.run(argv, within)
            return
        async with feed(copy) as text:
            await self._tool.run([*self._psql(stage), "--single-transaction"], within, text)

    async def unstage(self, mark: str, within: timedelta) -> None:
        """Drop the new database, and end what a program of ours that was killed has left the server to do."""
        await self._ask(_DROP, within, mark)

    async def exchange(self, mark: str, within: timedelta) -> None:
        """End the sessions of both, and give both their new names in one transaction."""
        away = self._server.beside("before", mark)
        await self._exchange(_EXCHANGE + _COME + _DONE, self._server.beside("stage", mark), away, within)

    async def exchange_back(self, mark: str, within: timedelta, *, nothing_before: bool) -> None:
        """Do the same the other way round."""
        text = _EXCHANGE + ("" if nothing_before else _COME) + _DONE
        taken = (await self._ask("SELECT datname FROM pg_database;", within)).splitlines()
        away = self._server.free("after", mark, taken)
        await self._exchange(text, self._server.beside("before", mark), away, within)

    async def _exchange(self, text: str, fresh: str, away: str, within: timedelta) -> None:
        names = {"fresh": fresh, "away": away}
        for left in reversed(range(_TRIES)):
            try:
                await self._tool.act(self._psql(_MAINTENANCE, **names), within, text.encode())
            except PermanentError as error:  # psql said so: the transaction was rolled back
                if not left or "being accessed by other users" not in str(error):
                    raise
            else:
                return

    # --- its programs ---

    async def _ask(self, text: str, within: timedelta, mark: str = "") -> str:
        names = {"stage": self._server.beside("stage", mark), "aside": self._server.beside("before", mark)}
        printed = await self._tool.run(self._psql(_MAINTENANCE, **names), within, text.encode())
        return printed.decode(errors="replace").strip()

    def _psql(self, database: str, **names: str) -> list[str]:
        values = [f"--set={key}={value}" for key, value in {"live": self._server.database, **names}.items()]
        quiet = ["-X", "-q", "-A", "-t", "--set=ON_ERROR_STOP=1"]
        return ["psql", *self._whence(), *quiet, *values, f"--dbname={database}"]

    def _whence(self) -> list[str]:
        user = [f"--username={self._server.user}"] if self._server.user else []
        return [f"--host={self._server.host}", f"--port={self._server.port}", "--no-password", *user]


def _is_custom(copy: Path) -> bool:
    with copy.open("rb") as file:
        return file.read(len(_CUSTOM)) == _CUSTOM
