"""Migrations: brings the tables of a database to what this version needs, in one transaction, when it is opened.

A revision is a file in `versions`; a revision that is not there means that a newer version wrote the database. Daemons of the
release before go on beside the new ones while they are replaced one by one, so a migration only adds what they need not know of:
columns have a server's default, nothing is renamed or dropped that they read or write. One that cannot stands in the CHANGELOG.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, text

from stopgap.errors import StoreError
from stopgap.store import schema

HEAD = "0005"
_stamp = Table(  # alembic's own: which revision a database is
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


class NewerSchema(StoreError):  # noqa: N818 - named for what was found
    """A newer version brought the database to a revision that this one does not know."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the database has schema {found}, this version of stopgap knows {HEAD}: a newer one wrote it; "
            "run that version, or restore a backup from before"
        )


def migrate(connection: Connection) -> str | None:
    """Apply what is missing; returns the revision before, None for an empty database. Raises NewerSchema."""
    current = revision(connection)
    if current is None:
        create(connection)
    elif current != HEAD:
        check(current)
        upgrade(connection)
    return current


def create(connection: Connection) -> None:
    """Make an empty database what all revisions one after the other would make of it; a test compares."""
    schema.metadata.create_all(connection, checkfirst=False)
    connection.execute(schema.leader.insert(), {"id": 1, "holder": "", "url": "", "epoch": 0, "until": 0})
    _stamp.metadata.create_all(connection, checkfirst=False)
    connection.execute(_stamp.insert(), {"version_num": HEAD})


def upgrade(connection: Connection) -> None:
    """Apply the revisions that are missing."""
    # Here, because it is needed at the first start of another release only, and costs a tenth of a second and 11 MB.
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415

    script = _script()

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(HEAD, revision)  # noqa: SLF001 - as alembic.command.upgrade does

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()


def check(found: str | None) -> None:
    """Raise NewerSchema for a revision that is not one of ours."""
    if found not in (None, HEAD, *(each.revision for each in _script().walk_revisions())):
        raise NewerSchema(str(found))


def _script() -> Any:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    return ScriptDirectory(str(Path(__file__).parent))


def revision(connection: Connection) -> str | None:
    """Return the revision of a database, None where there is no table yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version
