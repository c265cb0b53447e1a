"""Mysql: a database of a MariaDB or MySQL server, by its own mariadb-dump and mariadb (or mysqldump and mysql).

No database can be renamed there. It is put back into a new one, and then all tables change places in one RENAME TABLE, which is
atomic. That cannot move views, triggers, routines and events: where there are some it refuses, before anything is touched. The user
needs all rights on the database and on those that begin with its name and an underscore.
"""

import asyncio
import errno
import hashlib
import os
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from stopgap.copies import script
from stopgap.copies.original import Original, State
from stopgap.copies.server import Server
from stopgap.copies.tool import Tool, feed
from stopgap.errors import PermanentError

_PORT = 3306
_CLOSING = re.compile(rb"^-- Dump completed", re.MULTILINE)
_ELSEWHERE = re.compile(
    rb"(?:/\*![0-9]* *)?(?i:use|create database|drop database|create schema|drop schema)[ `]|\\!|(?i:system|source) "
)
_LOCK_SECONDS = 20
_MARK = "stopgap_exchanged"  # a table that goes aside with the old ones in the same RENAME: it proves that they went


class Mysql(Original):
    """One database. A copy is SQL; what others made may be compressed."""

    schemes = ("mysql", "mariadb")
    example = "mysql://user@host/database"
    kind = "mysql"
    suffix = ".sql"

    def __init__(self, locator: str, password: str | None = None) -> None:
        self._server = Server.parse(locator, "mysql", _PORT, "unix_socket")
        hidden = () if password is None else (password,)
        self._own = password is None  # then the login of ~/.my.cnf counts
        self._tool = Tool({"MYSQL_PWD": password} if password else {}, "install mariadb-client", hidden)

    @property
    def name(self) -> str:
        """Name it as a resource."""
        return self._server.name

    @property
    def title(self) -> str:
        """Return the name of the database."""
        return self._server.database

    def aside(self, mark: str) -> str:
        """Say in which database the old tables are kept."""
        return f"database {self._server.beside('before', mark)}"

    async def try_tools(self) -> None:
        """See that its programs are there."""
        await asyncio.to_thread(self._tool.find, "mariadb", "mysql")
        await asyncio.to_thread(self._tool.find, "mariadb-dump", "mysqldump")

    async def size(self, within: timedelta) -> int:
        """Ask the server how large its data are: as text they may be as much again."""
        query = (
            "SELECT COALESCE(SUM(data_length), 0) FROM information_schema.tables WHERE table_schema = {live};"
        )
        return int(float(await self._ask(query, within)))

    async def copy(self, to: Path, within: timedelta, *, evidence: bool) -> None:
        """Dump it, from one snapshot; for evidence, on past what cannot be read."""
        program = await asyncio.to_thread(self._tool.find, "mariadb-dump", "mysqldump")
        version = (await self._tool.run([program, "--version"], within)).lower()
        theirs = [] if b"mariadb" in version else ["--set-gtid-purged=OFF"]
        how = ["--single-transaction", "--quick", "--hex-blob", "--no-tablespaces", "--routines", "--events"]
        argv = [program, *self._whence(), *how, *theirs, *(["--force"] if evidence else [])]
        argv += ["--default-character-set=utf8mb4", f"--result-file={to}", self._server.database]
        try:
            await self._tool.run(argv, within)
        except PermanentError as error:
            if f"errno {errno.ENOSPC} " in str(error):
                raise PermanentError(f"{to.parent}: {os.strerror(errno.ENOSPC).lower()}") from None
            raise

    async def prove(self, copy: Path, within: timedelta) -> None:
        """Look for the closing line, and for what would leave the database."""
        await script.prove(copy, _CLOSING, _ELSEWHERE, within)

    # --- putting back ---

    async def state(self, mark: str, within: timedelta) -> State:
        """See which tables are live, and whether old ones are aside: they come there together with our mark."""
        query = (
            "SELECT schema_name FROM information_schema.schemata WHERE schema_name = {live};"
            "SELECT CONCAT('#', COUNT(*)) FROM information_schema.tables WHERE table_schema = {aside};"
        )
        there = (await self._ask(query, within, mark)).splitlines()
        live = _digest(await self._tables(self._server.database, within)) if self.title in there else None
        return State(live, "#0" not in there)

    async def stage(self, copy: Path, mark: str, within: timedelta) -> None:
        """Load into a new database with the character set of the live one, and see that its tables can change places."""
        await self._movable(self._server.database, within)
        stage = self._server.beside("stage", mark)
        query = (
            "SELECT default_character_set_name, default_collation_name"
            " FROM information_schema.schemata WHERE schema_name = {live};"
        )
        like = (await self._ask(query, within)).split()
        charset = f" CHARACTER SET {like[0]} COLLATE {like[1]}" if len(like) == 2 else ""  # noqa: PLR2004 - the two
        await self._ask(f"DROP DATABASE IF EXISTS `{stage}`; CREATE DATABASE `{stage}`{charset};", within)
        async with feed(copy) as text:
            await self._tool.run([*await self._client(), f"--database={stage}"], within, text)
        await self._movable(stage, within)
        await self._ask(f"CREATE TABLE `{stage}`.`{_MARK}` (x int);", within)

    async def _movable(self, database: str, within: timedelta) -> None:
        query = (
            "SELECT 'a view' FROM information_schema.views WHERE table_schema = {one}"
            " UNION SELECT 'a trigger' FROM information_schema.triggers WHERE trigger_schema = {one}"
            " UNION SELECT 'a routine' FROM information_schema.routines WHERE routine_schema = {one}"
            " UNION SELECT 'an event' FROM information_schema.events WHERE event_schema = {one};"
        )
        if found := (await self._ask(query.replace("{one}", _quoted(database)), within)).splitlines():
            raise PermanentError(
                f"{database} holds {' and '.join(found)}, which RENAME TABLE cannot move to another database: restore by hand"
            )

    async def unstage(self, mark: str, within: timedelta) -> None:
        """Drop the new database."""
        await self._ask(f"DROP DATABASE IF EXISTS `{self._server.beside('stage', mark)}`;", within)

    async def exchange(self, mark: str, within: timedelta) -> None:
        """Let all tables change places at once."""
        await self._exchange(
            self._server.beside("stage", mark), self._server.beside("before", mark), within, mark=True
        )

    async def exchange_back(self, mark: str, within: timedelta, *, nothing_before: bool) -> None:
        """Do the same the other way round."""
        await self._movable(self.title, within)
        query = "SELECT DISTINCT table_schema FROM information_schema.tables;"
        away = self._server.free("after", mark, (await self._ask(query, within)).splitlines())
        await self._exchange(self._server.beside("before", mark), away, within, empty=nothing_before)

    async def _exchange(
        self, come: str, go: str, within: timedelta, *, mark: bool = False, empty: bool = False
    ) -> None:
        live = self.title
        moves = [f"`{live}`.{each} TO `{go}`.{each}" for each in await self._tables(live, within)]
        coming = await self._tables(come, within)
        if not coming and mark:
            raise PermanentError(f"{come} holds no tables: nothing was exchanged")
        moves += [f"`{come}`.{each} TO `{live}`.{each}" for each in coming]
        moves += [f"`{come}`.`{_MARK}` TO `{go}`.`{_MARK}`"] if mark else []
        text = (
            f"SET SESSION lock_wait_timeout = {_LOCK_SECONDS}; SET SESSION foreign_key_checks = 0;"
            f"CREATE DATABASE IF NOT EXISTS `{live}`; CREATE DATABASE IF NOT EXISTS `{go}`;"
            f"RENAME TABLE {', '.join(moves)}; DROP DATABASE IF EXISTS `{come}`;"
        )
        if empty:
            text += f"DROP DATABASE `{live}`;"
        await self._tool.act(await self._client(), within, text.encode())

    # --- its programs ---

    async def _tables(self, database: str, within: timedelta) -> list[str]:
        """Return the names of a database's tables, quoted."""
        query = (
            "SELECT HEX(table_name) FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE' AND table_name <> {mark} AND table_schema = {one} ORDER BY 1;"
        )
        query = query.replace("{one}", _quoted(database)).replace("{mark}", _quoted(_MARK))
        lines = (await self._ask(query, within)).split()
        return [f"`{bytes.fromhex(line).decode().replace('`', '``')}`" for line in lines]

    async def _ask(self, text: str, within: timedelta, mark: str = "") -> str:
        names = {
            "live": self.title,
            "stage": self._server.beside("stage", mark),
            "aside": self._server.beside("before", mark),
        }
        for key, value in names.items():
            text = text.replace(f"{{{key}}}", _quoted(value))
        printed = await self._tool.run(await self._client(), within, text.encode())
        return printed.decode(errors="replace").strip()

    async def _client(self) -> list[str]:
        program = await asyncio.to_thread(self._tool.find, "mariadb", "mysql")
        how = ["--batch", "--skip-column-names", "--connect-timeout=10", "--default-character-set=utf8mb4"]
        return [program, *self._whence(), *how]

    def _whence(self) -> list[str]:
        """Say where; `--no-defaults` must come first, and keeps another password from counting."""
        host = self._server.host
        place = (
            [f"--socket={host}"]
            if host.startswith("/")
            else ["--protocol=TCP", f"--host={host}", f"--port={self._server.port}"]
        )
        own = [] if self._own else ["--no-defaults"]
        return [*own, *place, *([f"--user={self._server.user}"] if self._server.user else [])]


def _quoted(name: str) -> str:
    """Quote a name of ours, which holds letters, digits, dots, dashes and underscores only."""
    return f"'{name}'"


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
