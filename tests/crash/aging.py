"""Aging: a database as an older release left it, with a closed incident in it, so that a start has something to migrate."""

from pathlib import Path

from alembic.config import Config
from alembic.runtime import environment
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from stopgap.store import migrations

AGES = {"": 50, "0001": 30, "0002": 16, "0003": 14}
"""Revisions to start from, and about how many statements it takes to open them; the empty one means no table at all."""

OLD = "INC-20250101-000000-000000"


def age(url: str, revision: str) -> None:
    """Make the tables of a revision, and put an old incident into them."""
    if not revision:
        return
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    engine = create_engine(url)
    with engine.begin() as connection:
        context = environment.EnvironmentContext(
            Config(), script, fn=lambda rev, _: script._upgrade_revs(revision, rev)
        )
        with context:
            context.configure(connection=connection, transactional_ddl=True)
            context.run_migrations()
        connection.execute(
            text(
                "INSERT INTO incident (number, id, rule, version, target, severity, mode, seq, opened_at, acted_at,"
                " closed_at, outcome, rung, follows, flaps)"
                " VALUES (1, :id, 'old/rule', 'v', 'api', 'P2', 'auto', 2, 1, 1, 2, 'handed_over', 0, '', 0)"
            ),
            {"id": OLD},
        )
        for seq, kind in ((1, "opened"), (2, "closed")):
            line = {"id": OLD, "seq": seq, "kind": kind}
            connection.execute(text("INSERT INTO journal VALUES (:id, :seq, :seq, :kind, '{}')"), line)
    engine.dispose()
