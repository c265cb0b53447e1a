"""Migrations: brings the tables of a database to what this version needs, in one transaction, when it is opened.

A revision is a file in `versions`; a revision that is not there means that a newer version wrote the database.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from stopgap.errors import StoreError

HEAD = "0005"


def migrate(connection: Connection) -> None:
    """Apply what is missing. Raises StoreError for a database that a newer version wrote."""
    current = _current(connection)
    if current == HEAD:
        return
    # Here, because it is needed once in a database's life and costs a tenth of a second and memory.
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory(str(Path(__file__).parent))
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"the database has schema {current}, this version of stopgap knows {HEAD}: a newer one wrote it; "
            "run that version, or restore a backup from before"
        )

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(HEAD, revision)  # noqa: SLF001 - as alembic.command.upgrade does

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version
