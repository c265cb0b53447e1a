"""Schema: the tables of the durable store, for SQLite and PostgreSQL alike.

Instants are integers, microseconds since 1970 in UTC; JSON is text. Migrations are frozen copies of this; a test compares what both
make.
"""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, Table, Text, false

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts by itself only what is called INTEGER

incident = Table(
    "incident",
    metadata,
    Column("number", NUMBER, primary_key=True),  # the order of opening
    Column("id", Text, nullable=False, unique=True),
    Column("rule", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("acted_at", BigInteger),  # of the last permit
    Column("mitigated_at", BigInteger),
    Column("reverted_at", BigInteger),  # the mitigation held and was taken back after recovery
    Column("closed_at", BigInteger),
    Column("outcome", Text, nullable=False),
    Column("rung", Integer, nullable=False),  # the last one, once closed
    Column("follows", Text, nullable=False),
    Column("flaps", Integer, nullable=False),
    Column("used", Text, nullable=False, server_default="[]"),  # names of rungs, once closed
    Column("helped", Text, nullable=False, server_default=""),  # the name of the rung that held, once closed
    Column("drill", Text, nullable=False, server_default=""),  # the name of the drill that it is
)
_live = incident.c.closed_at.is_(None)
_acted = incident.c.acted_at.is_not(None) & incident.c.reverted_at.is_(None)
_failed = incident.c.acted_at.is_not(None) & incident.c.mitigated_at.is_(None)
_reverted = incident.c.reverted_at.is_not(None)
Index(
    "ux_incident_live",
    incident.c.target,
    incident.c.rule,
    unique=True,
    sqlite_where=_live,
    postgresql_where=_live,
)
Index(
    "ix_incident_acted",
    incident.c.target,
    incident.c.rule,
    incident.c.acted_at,
    sqlite_where=_acted,
    postgresql_where=_acted,
)
Index(
    "ix_incident_failed",
    incident.c.target,
    incident.c.rule,
    incident.c.acted_at,
    sqlite_where=_failed,
    postgresql_where=_failed,
)
Index(
    "ix_incident_reverted",
    incident.c.target,
    incident.c.reverted_at,
    sqlite_where=_reverted,
    postgresql_where=_reverted,
)
Index("ix_incident_opened_at", incident.c.opened_at)
Index("ix_incident_rule", incident.c.rule)
Index("ix_incident_target", incident.c.target)

journal = Table(
    "journal",
    metadata,
    Column("incident", Text, primary_key=True),  # or `control`
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_with_rowid=False,
)

undo = Table(
    "undo",
    metadata,
    Column("incident", Text, ForeignKey("incident.id"), primary_key=True),
    Column("act", Text, primary_key=True),
    Column("before", Text, nullable=False),
    Column("receipt", Text, nullable=False),
    sqlite_with_rowid=False,
)

permit = Table(
    "permit",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("incident", Text, ForeignKey("incident.id"), nullable=False),
    Column("rule", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("shadow", Boolean, nullable=False, server_default=false()),
)
Index("ix_permit_incident", permit.c.incident)
Index("ix_permit_at", permit.c.shadow, permit.c.at)
Index("ix_permit_rule_at", permit.c.rule, permit.c.shadow, permit.c.at)
Index("ix_permit_target_at", permit.c.target, permit.c.rule, permit.c.shadow, permit.c.at)

held = Table(
    "held",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("incident", Text, ForeignKey("incident.id"), nullable=False),
    Column("since", BigInteger, nullable=False),
)
Index("ix_held_incident", held.c.incident)

episode = Table(
    "episode",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("incident", Text, ForeignKey("incident.id"), nullable=False),
    Column("firing", Boolean, nullable=False),
    Column("served", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_episode_incident", episode.c.incident)

rule_version = Table(
    "rule_version",
    metadata,
    Column("version", Text, primary_key=True),
    Column("document", Text, nullable=False),
)

rule_seen = Table(
    "rule_seen",
    metadata,
    Column("rule", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
)

brake = Table(
    "brake",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
)

leader = Table(  # on PostgreSQL: the one row says which of the daemons leads
    "leader",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)

inbox = Table(  # on PostgreSQL: what daemons that do not lead have taken
    "inbox",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("said", Text, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
)
