"""Originals of each kind for the tests of `backup` and `restore`: how they are made, read behind our back, and meddled with."""

import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.servers import PASSWORD

from stopgap.action import Moment
from stopgap.actions import Backup, Restore

BACKUP = Moment("INC-1/0/0/do/1", timedelta(seconds=30), "hotel/before", "api", "INC-1")
RESTORE = Moment("INC-2/1/0/do/1", timedelta(seconds=30), "hotel/corrupt", "api", "INC-2")
BACK = dataclasses.replace(RESTORE, key="INC-2/1/0/revert/1")  # as the engine asks for it


@dataclass
class Original:
    """One original: `read` tells its content, `write` adds a guest, `replace` puts another one in its place, `drop` removes it."""

    locator: str
    read: Callable[[], Any]
    write: Callable[[str], None]
    replace: Callable[[], None]
    drop: Callable[[], None]
    password: dict[str, str] = field(default_factory=dict)
    name: str = ""


def stored(value: Any) -> Any:
    return json.loads(json.dumps(value))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def sqlite(tmp_path: Path, *, wal: bool = True) -> Original:
    path = tmp_path / "live" / "hotel.db"
    path.parent.mkdir(exist_ok=True)

    def run(*statements: tuple[str, ...]) -> list[Any]:
        with closing(sqlite3.connect(path)) as base:
            found = [row for each in statements for row in base.execute(*each)]
            base.commit()
            return found

    def make() -> None:
        run(
            ("PRAGMA journal_mode = WAL",) if wal else ("PRAGMA journal_mode = DELETE",),
            ("CREATE TABLE guest (name TEXT)",),
        )

    def replace() -> None:
        path.unlink()
        make()
        write("theirs")

    def write(name: str) -> None:
        run(("INSERT INTO guest VALUES (?)", (name,)))

    def read() -> Any:
        if not path.exists():
            return None
        return [name for (name,) in run(("SELECT name FROM guest ORDER BY 1",))]

    make()
    write("ann")
    return Original(f"sqlite://{path}", read, write, replace, path.unlink)


def folder(tmp_path: Path) -> Original:
    path = tmp_path / "live" / "etc"
    (path / "sub").mkdir(parents=True)
    (path / "link").symlink_to("sub/deep")
    (path / "sub" / "deep").write_text("deep")
    (path / "sub" / "deep").chmod(0o440)
    (path / "new\nline").write_text("$(x)")
    (path / "guests").write_text("ann\n")

    def write(name: str) -> None:
        (path / "guests").write_text((path / "guests").read_text() + f"{name}\n")

    def read() -> Any:
        if not path.exists():
            return None
        found = {}
        for each in sorted(path.rglob("*")):
            seen = each.lstat()
            body = str(each.readlink()) if each.is_symlink() else each.read_text() if each.is_file() else ""
            found[str(each.relative_to(path))] = (body, oct(seen.st_mode), seen.st_uid)
        return found

    def replace() -> None:
        shutil.rmtree(path)
        path.mkdir()
        (path / "guests").write_text("theirs\n")

    return Original(f"file://{path}", read, write, replace, lambda: shutil.rmtree(path))


def file(tmp_path: Path) -> Original:
    path = tmp_path / "live" / "app.env"
    path.parent.mkdir(exist_ok=True)
    path.write_text("ann\n")
    path.chmod(0o640)

    def read() -> Any:
        return (path.read_text(), oct(path.stat().st_mode), path.stat().st_uid) if path.exists() else None

    def replace() -> None:
        other = path.with_name("other")
        other.write_text("theirs\n")
        other.replace(path)

    return Original(
        f"file://{path}",
        read,
        lambda name: path.write_text(path.read_text() + f"{name}\n") and None,
        replace,
        path.unlink,
    )


def _server(
    base: Any, made: Callable[[], None], drop: Callable[[], None], exists: Callable[[], bool]
) -> Original:
    def write(name: str) -> None:
        base.run(
            f"INSERT INTO guest (name) VALUES ('{name}')",
            f"INSERT INTO stay (guest) SELECT id FROM guest WHERE name = '{name}'",
        )

    def read() -> Any:
        if not exists():
            return None
        return base.rows("SELECT name FROM guest JOIN stay ON stay.guest = guest.id ORDER BY 1")

    def replace() -> None:
        drop()
        made()
        write("theirs")

    made()
    write("ann")
    return Original(base.locator, read, write, replace, drop, {"password": PASSWORD}, base.name)


def postgres(server: Any) -> Original:
    base = server.database()

    def admin(*statements: str) -> None:
        with server.connect() as connection:
            for each in statements:
                connection.execute(each)

    def exists() -> bool:
        with server.connect() as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (base.name,)
            ).fetchone()
        return found is not None

    def make() -> None:
        if not exists():
            admin(f"CREATE DATABASE {base.name} OWNER {base.user}")
        base.run(
            f"SET ROLE {base.user}",
            "CREATE TABLE guest (id serial PRIMARY KEY, name text UNIQUE)",
            "CREATE TABLE stay (guest int REFERENCES guest)",
            "CREATE VIEW guests AS SELECT name FROM guest",
        )

    admin(f"ALTER ROLE {base.user} CREATEDB")
    return _server(base, make, lambda: admin(f"DROP DATABASE {base.name} WITH (FORCE)"), exists)


def mysql(server: Any) -> Original:
    base = server.database()

    def admin(*statements: str) -> list[Any]:
        with server.connect() as connection, connection.cursor() as cursor:
            for each in statements:
                cursor.execute(each)
            return list(cursor.fetchall())

    def exists() -> bool:
        return bool(admin(f"SELECT 1 FROM information_schema.schemata WHERE schema_name = '{base.name}'"))

    def make() -> None:
        admin(f"CREATE DATABASE IF NOT EXISTS {base.name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        base.run(
            "CREATE TABLE guest (id int AUTO_INCREMENT PRIMARY KEY, name varchar(50) UNIQUE)",
            "CREATE TABLE stay (guest int, CONSTRAINT whose FOREIGN KEY (guest) REFERENCES guest (id))",
            "CREATE TABLE `it``s; odd` (x int)",
        )

    admin(f"GRANT ALL ON `{base.name}\\_%`.* TO {base.user}@'%'")
    made = _server(base, make, lambda: admin(f"DROP DATABASE {base.name}") and None, exists)

    def replace() -> None:
        made.drop()
        make()
        base.run("CREATE TABLE theirs (x int)")

    made.replace = replace
    return made


def of(kind: str, request: Any, tmp_path: Path) -> Original:
    """Make an original of a kind; a server is started at first use."""
    if kind == "postgres":
        return postgres(request.getfixturevalue("postgres"))
    if kind == "mysql":
        return mysql(request.getfixturevalue("mariadb"))
    return {"sqlite": sqlite, "folder": folder, "file": file}[kind](tmp_path)


KINDS = ["sqlite", "folder", "file", "postgres", "mysql"]


def restoring(thing, shelf, **more):
    return Restore.params(**{"from": str(shelf), "to": thing.locator, **thing.password, **more})


async def copied(thing, shelf, moment=BACKUP, **more):
    given = Backup.params(of=thing.locator, to=str(shelf), **{**thing.password, **more})
    before = stored(await Backup(None).observe(given, moment))
    return Path((await Backup(None).run(given, before, moment))["path"])


async def damaged(thing, shelf):
    """Copy, and go on: returns what was good and what is bad now."""
    good = thing.read()
    await copied(thing, shelf)
    thing.write("bob")
    return good, thing.read()
