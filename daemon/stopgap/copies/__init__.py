"""Copies: what can be copied before something risky is done to it, proved whole, and put back when it went wrong.

An `Original` (a database, a file, a folder) knows how to write a copy, to prove one, and to exchange itself for one while the old
state is kept aside. A `Shelf` is the folder where copies stand, each beside a manifest that says what it is.
"""

from stopgap.copies.files import Files
from stopgap.copies.mysql import Mysql
from stopgap.copies.original import Original
from stopgap.copies.postgres import Postgres
from stopgap.copies.sqlite import Sqlite

ORIGINALS: tuple[type[Original], ...] = (Sqlite, Postgres, Mysql, Files)


def original(locator: str, password: str | None = None) -> Original:
    """Return what a locator names, if it can be copied and put back. No I/O; raises ValueError."""
    scheme = locator.partition(":")[0]
    for kind in ORIGINALS:
        if scheme in kind.schemes:
            return kind(locator, password)
    raise ValueError(
        f"{scheme[:40]}: cannot be copied: write one of {', '.join(kind.example for kind in ORIGINALS)}"
    )
