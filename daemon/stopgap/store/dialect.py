"""Dialect: what SQLite and PostgreSQL write alike though SQL has no common word for it, and how much fits into one statement."""

from collections.abc import Iterable, Iterator
from itertools import islice

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import Insert, insert  # SQLite's compiler writes the same ON CONFLICT

CHUNK = 500  # bound values in one IN


def upsert(table: Table, *updated: str) -> Insert:
    """Return an insert that replaces these columns of the row with the same primary key."""
    statement = insert(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: statement.excluded[name] for name in updated},
    )


def keep_first(table: Table) -> Insert:
    """Return an insert that leaves the row with the same primary key as it is."""
    return insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))


def chunks(items: Iterable[str]) -> Iterator[list[str]]:
    """Yield the items in lists that fit into one IN."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
