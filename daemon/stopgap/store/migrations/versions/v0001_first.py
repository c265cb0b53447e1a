"""First: the tables of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make all tables."""
    _incident()
    _what_belongs_to_an_incident()
    _rest()


def _incident() -> None:
    op.create_table(
        "incident",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("acted_at", sa.BigInteger()),
        sa.Column("mitigated_at", sa.BigInteger()),
        sa.Column("reverted_at", sa.BigInteger()),
        sa.Column("closed_at", sa.BigInteger()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("follows", sa.Text(), nullable=False),
        sa.Column("flaps", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_incident"),
        sa.UniqueConstraint("id", name="uq_incident_id"),
    )
    live, acted, reverted = (
        sa.text(where) for where in ("closed_at IS NULL", "acted_at IS NOT NULL", "reverted_at IS NOT NULL")
    )
    op.create_index(
        "ux_incident_live",
        "incident",
        ["target", "rule"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.create_index(
        "ix_incident_acted",
        "incident",
        ["target", "rule", "acted_at"],
        sqlite_where=acted,
        postgresql_where=acted,
    )
    op.create_index(
        "ix_incident_reverted",
        "incident",
        ["target", "reverted_at"],
        sqlite_where=reverted,
        postgresql_where=reverted,
    )
    op.create_index("ix_incident_rule", "incident", ["rule"])
    op.create_index("ix_incident_target", "incident", ["target"])


def _what_belongs_to_an_incident() -> None:
    op.create_table(
        "journal",
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("incident", "seq", name="pk_journal"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "undo",
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("incident", "act", name="pk_undo"),
        sa.ForeignKeyConstraint(["incident"], ["incident.id"], name="fk_undo_incident"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "permit",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_permit"),
        sa.ForeignKeyConstraint(["incident"], ["incident.id"], name="fk_permit_incident"),
    )
    op.create_index("ix_permit_incident", "permit", ["incident"])
    op.create_index("ix_permit_rule_at", "permit", ["rule", "at"])
    op.create_table(
        "held",
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource", name="pk_held"),
        sa.ForeignKeyConstraint(["incident"], ["incident.id"], name="fk_held_incident"),
    )
    op.create_index("ix_held_incident", "held", ["incident"])
    op.create_table(
        "episode",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("firing", sa.Boolean(), nullable=False),
        sa.Column("served", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "rule", name="pk_episode"),
        sa.ForeignKeyConstraint(["incident"], ["incident.id"], name="fk_episode_incident"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_episode_incident", "episode", ["incident"])


def _rest() -> None:
    op.create_table(
        "rule_version",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_rule_version"),
    )
    op.create_table(
        "brake",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("scope", "name", name="pk_brake"),
    )
