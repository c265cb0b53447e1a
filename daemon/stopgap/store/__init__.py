"""Store: the Journal on disk. One process, one writer thread, group commit; readers see snapshots.

`open_store` claims the directory, checks and migrates the database, and starts the writer. It raises StoreError, with the cure,
for a directory in use, a damaged or unwritable database, and one that a newer version wrote. `join` does so for a database that
several daemons share: whoever is not elected stands by.
"""

from stopgap.store.database import Unreachable
from stopgap.store.folder import DATABASE, LOCK
from stopgap.store.inbox import Letter, Waiting
from stopgap.store.standby import Standby, join
from stopgap.store.store import Store, open_store

__all__ = ["DATABASE", "LOCK", "Letter", "Standby", "Store", "Unreachable", "Waiting", "join", "open_store"]
