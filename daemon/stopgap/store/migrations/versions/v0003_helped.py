"""Helped: the name of the rung that held, which outlives a reload as its number does not."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; a flap of what closed before starts with the first rung."""
    op.add_column("incident", sa.Column("helped", sa.Text(), nullable=False, server_default=""))
