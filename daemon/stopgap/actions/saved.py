# ruff: noqa: S608 - composed of the statement's own words and of quoted names; values are bound
"""Saved: the rows that a plain UPDATE or DELETE is about to change, kept before it and put back after it, found by their key.

Of an UPDATE the key and the columns that it sets are kept, of a DELETE the whole rows. A row that somebody else changed meanwhile
is left alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from stopgap.action import Json
from stopgap.backends.database import Database, Session, TooManyRows
from stopgap.backends.rows import Rows
from stopgap.backends.statement import Statement, parse_statement
from stopgap.errors import PermanentError

LARGEST = 1024 * 1024  # bytes of JSON
_AT_ONCE = 100  # rows that one query asks for

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of the rows, by how their key is shown."""

    back: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """The rows of one statement, in one database."""

    place: Database
    statement: Statement
    key: tuple[str, ...]

    @property
    def table(self) -> str:
        """Return the table, as the statement writes it."""
        return self.statement.change.table

    def find(self, session: Session, values: Mapping[str, Any], most: int, *, keep: bool = False) -> Rows:
        """Return the rows that are about to change, in order; `keep` them from others. Raises PermanentError beyond `most`."""
        where = self.statement.change.where
        try:
            rows = session.rows(self._select(f"({where}\n) LIMIT {most + 1}", keep=keep), values, most)
        except TooManyRows:
            counted = session.rows(
                parse_statement(f"SELECT count(*) FROM {self.table} WHERE {where}"), values, 1
            )
            raise PermanentError(
                f"{counted.rows[0][0]} rows would be changed, at most {most} may be: nothing was changed"
            ) from None
        ordered = sorted(self._keyed(rows).items(), key=lambda each: repr(each[0]))
        return Rows(rows.columns, tuple(row for _, row in ordered))

    def again(self, session: Session, kept: Rows, *, keep: bool = False) -> Rows:
        """Return the same rows as they are now, as far as they are there."""
        columns: tuple[str, ...] = kept.columns
        rows: list[Row] = []
        keys = list(self._keyed(kept))
        for start in range(0, len(keys), _AT_ONCE):
            where, values = self._one_of(keys[start : start + _AT_ONCE])
            found = session.rows(self._select(where, keep=keep), values, _AT_ONCE)
            columns = found.columns
            rows += found.rows
        return Rows(columns, tuple(rows))

    def unchanged(self, kept: Rows, now: Rows) -> bool:
        """Tell whether no row is about to change that was not kept as it is."""
        known = set(map(repr, kept.rows))
        return all(repr(row) in known for row in now.rows)

    def put_back(self, session: Session, kept: Rows, after: Rows | None) -> PutBack:
        """Put back the rows that are still as we left them (unknown: that are not as they were), and leave the others."""
        now = self._keyed(self.again(session, kept, keep=True))
        ours = None if after is None else self._keyed(after)
        back, left = [], []
        for key, old in self._keyed(kept).items():
            there = now.get(key)
            if _same(there, old):
                continue
            if (ours is not None and not _same(there, ours.get(key))) or not self._restore(
                session, kept.columns, old, there
            ):
                left.append(self.named(key))
            else:
                back.append(self.named(key))
        return PutBack(tuple(back), tuple(left))

    def named(self, key: Row) -> str:
        """Show a key."""
        return ", ".join(f"{name}={str(value)[:40]}" for name, value in zip(self.key, key, strict=True))

    def by_key(self, rows: Rows) -> Iterator[tuple[str, dict[str, Any]]]:
        """Go through rows: the key, shown, and the other columns."""
        for key, row in self._keyed(rows).items():
            others = dict(zip(rows.columns, row, strict=True))
            yield (
                self.named(key),
                {name: value for name, value in others.items() if name.lower() not in self._lower},
            )

    @property
    def _lower(self) -> tuple[str, ...]:
        return tuple(name.lower() for name in self.key)

    def _select(self, where: str, *, keep: bool) -> Statement:
        columns = (
            ", ".join((*self.key, *self.statement.change.columns)) if self.statement.verb == "update" else "*"
        )
        locking = self.place.locking if keep else ""
        return parse_statement(f"SELECT {columns} FROM {self.table} WHERE {where}{locking}")

    def _keyed(self, rows: Rows) -> dict[Row, Row]:
        """Return rows by their key. Raises PermanentError when the key is none; without rows nobody knows."""
        if not rows.rows:
            return {}
        lower = [name.lower() for name in rows.columns]
        missing = [name for name in self._lower if name not in lower]
        if missing:
            raise PermanentError(
                f"{self.table} has no column {missing[0]}: save names the columns of its key"
            )
        places = [lower.index(name) for name in self._lower]
        keyed = {tuple(row[i] for i in places): row for row in rows.rows}
        if len(keyed) != len(rows.rows) or any(part is None for key in keyed for part in key):
            raise PermanentError(
                f"{', '.join(self.key)} is no key of {self.table}: two rows have the same, or none"
            )
        return keyed

    def _one_of(self, keys: Sequence[Row]) -> tuple[str, dict[str, Any]]:
        values: dict[str, Any] = {}
        parts = []
        for i, key in enumerate(keys):
            terms = []
            for j, (name, value) in enumerate(zip(self.key, key, strict=True)):
                values[f"k{i}_{j}"] = value
                terms.append(f"{name} = :k{i}_{j}")
            parts.append(f"({' AND '.join(terms)})")
        return f"({' OR '.join(parts)})", values

    def _restore(self, session: Session, columns: tuple[str, ...], old: Row, there: Row | None) -> bool:
        """Write one row as it was; False when it is not ours to write."""
        if self.statement.verb == "delete":
            return there is None and self._insert(session, columns, old)
        return there is not None and self._update(session, columns, old, there)

    def _insert(self, session: Session, columns: tuple[str, ...], old: Row) -> bool:
        names = ", ".join(map(self.place.quote, columns))
        marks = ", ".join(f":v{i}" for i in range(len(columns)))
        text = f"INSERT INTO {self.table} ({names}) {self.place.overriding}VALUES ({marks})"
        session.change(parse_statement(text), {f"v{i}": value for i, value in enumerate(old)})
        return True

    def _update(self, session: Session, columns: tuple[str, ...], old: Row, there: Row) -> bool:
        changed = [i for i, value in enumerate(old) if not _same(value, there[i])]
        names = ", ".join(f"{self.place.quote(columns[i])} = :v{i}" for i in changed)
        key = next(iter(self._keyed(Rows(columns, (old,)))))
        where, values = self._one_of([key])
        values |= {f"v{i}": old[i] for i in changed}
        session.change(parse_statement(f"UPDATE {self.table} SET {names} WHERE {where}"), values)
        return True


def _same(one: object, other: object) -> bool:
    """Tell whether two values print alike: unlike by ==, NaN is NaN, and 1 is neither 1.0 nor true."""
    return repr(one) == repr(other)


def keep(rows: Rows) -> Json:
    """Return rows as JSON. Raises PermanentError for what is too large to keep, or of a kind that would not come back."""
    try:
        kept = rows.keep()
    except ValueError as error:
        raise PermanentError(str(error)) from None
    if (size := len(orjson.dumps(kept))) > LARGEST:
        raise PermanentError(
            f"the rows to save have {size} bytes, more than {LARGEST}: let it change fewer at once"
        )
    return kept
