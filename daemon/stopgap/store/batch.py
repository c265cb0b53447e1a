"""Batch: one transaction of the writer, and the lines that it commits.

Journal rows are collected and written at the end, all in one statement: no operation reads them back.
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from stopgap.incident import Event
from stopgap.journal import CONTROL, Line
from stopgap.store import schema
from stopgap.store.rows import decode, encode, micros
from stopgap.store.statement import Statement

_INSERT = Statement(schema.journal.insert(), columns=("incident", "seq", "at", "kind", "detail"))
_LAST_CONTROL = select(func.max(schema.journal.c.seq)).where(schema.journal.c.incident == CONTROL)


@dataclass(slots=True)
class Batch:
    """What one transaction has done so far. `written` decides whether there is anything to commit."""

    connection: Connection
    written: bool = False
    lines: list[Line] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _control_seq: int | None = None

    def record(self, incident: str, event: Event, seq: int, *, plain: bool = False) -> Event:
        """Take up one event of a timeline; returns it as a replay will read it: `plain` says that it is so already."""
        detail = encode(event.detail)
        event = Event(event.kind, event.at, event.detail if plain else decode(detail), seq)
        row = {
            "incident": incident,
            "seq": seq,
            "at": micros(event.at),
            "kind": event.kind.value,
            "detail": detail,
        }
        self._rows.append(row)
        self.lines.append(Line(incident, event))
        self.written = True
        return event

    def control(self, event: Event) -> None:
        """Take up one event of the pseudo-incident `control`."""
        if self._control_seq is None:
            self._control_seq = self.connection.execute(_LAST_CONTROL).scalar() or 0
        self._control_seq += 1
        self.record(CONTROL, event, self._control_seq)

    def flush(self) -> None:
        """Write the collected journal rows."""
        if self._rows:
            _INSERT.each(self.connection, self._rows)
            self._rows = []
