"""Drill: the name of the drill that an incident is, so that a listing and the chain of flaps tell it from a real one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; what there was before was real."""
    op.add_column("incident", sa.Column("drill", sa.Text(), nullable=False, server_default=""))
