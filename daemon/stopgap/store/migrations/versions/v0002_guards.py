"""Guards: permits of shadows, rungs that ran once, and when each rule was first loaded.

Rules that the database names already count as loaded since ever: they are not new.
"""

from collections.abc import Iterator

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, the indexes that the guards' questions need, and the table of rules."""
    op.add_column("incident", sa.Column("used", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("permit", sa.Column("shadow", sa.Boolean(), nullable=False, server_default=sa.false()))
    _indexes()
    seen = op.create_table(
        "rule_seen",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule", name="pk_rule_seen"),
    )
    op.bulk_insert(seen, [{"rule": rule, "since": 0} for rule in sorted(set(_known()))])


def _indexes() -> None:
    op.drop_index("ix_incident_acted", "incident")
    op.drop_index("ix_permit_rule_at", "permit")
    acted = sa.text("acted_at IS NOT NULL AND reverted_at IS NULL")
    failed = sa.text("acted_at IS NOT NULL AND mitigated_at IS NULL")
    for name, where in (("ix_incident_acted", acted), ("ix_incident_failed", failed)):
        columns = ["target", "rule", "acted_at"]
        op.create_index(name, "incident", columns, sqlite_where=where, postgresql_where=where)
    op.create_index("ix_incident_opened_at", "incident", ["opened_at"])
    op.create_index("ix_permit_at", "permit", ["shadow", "at"])
    op.create_index("ix_permit_rule_at", "permit", ["rule", "shadow", "at"])
    op.create_index("ix_permit_target_at", "permit", ["target", "rule", "shadow", "at"])


def _known() -> Iterator[str]:
    connection = op.get_bind()
    for (rule,) in connection.execute(sa.text("SELECT DISTINCT rule FROM incident")):
        yield rule
    for (stored,) in connection.execute(sa.text("SELECT document FROM rule_version")):
        document = orjson.loads(stored)
        if isinstance(document, dict) and {"pack", "name"} <= document.keys():
            yield f"{document['pack']}/{document['name']}"
