"""Launcher: the real daemon on a machine whose wall clock can be set and whose disk can be slow.

Run as `python -m tests.faults.launcher FOLDER` with the daemon's settings in the environment. In FOLDER, `wall` holds the seconds
by which the wall clock is ahead, `fsync` the seconds that a commit takes longer, `readonly` 1 where SQLite may not write; they are
read whenever they count.
`patience`, read at the start, is how many seconds a client has for its header, its body, or to read its answer, and how many are
between two looks at dependencies.
"""

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy

import stopgap.app
import stopgap.service
from stopgap.clock import SteadyClock
from stopgap.settings import Settings


def seconds(file: Path) -> float:
    """Read a number, 0 where there is none."""
    try:
        return float(file.read_text())
    except (FileNotFoundError, ValueError):  # absent, or about to be written
        return 0.0


def be_impatient(limit: float) -> None:
    """Wait no longer than so many seconds where the daemon waits for half a minute."""
    span = timedelta(seconds=limit)
    stopgap.body.SERVER["keepalive_timeout"] = limit  # type: ignore[index]
    stopgap.body.SERVER["lingering_time"] = limit  # type: ignore[index]
    stopgap.front.STALLED = limit
    stopgap.api.said.WITHIN = span
    body, bodies, _ = stopgap.webhook.Limits.__init__.__defaults__ or ()
    stopgap.webhook.Limits.__init__.__defaults__ = (body, bodies, span)
    stopgap.dependency.Watch.__init__.__defaults__ = (span,)


def refuse(connection: sqlalchemy.Connection, file: Path) -> None:
    """Let SQLite refuse to write, in its own words, while the file says so."""
    if file.exists():
        connection.exec_driver_sql(f"PRAGMA query_only = {seconds(file):.0f}")


def main() -> int:
    folder = Path(sys.argv[1])

    class Shaken(stopgap.app.App):
        """A daemon whose wall clock follows a file."""

        def __init__(self, settings: Settings, **given: Any) -> None:
            super().__init__(settings, SteadyClock(lambda: time.time() + seconds(folder / "wall")), **given)

    if (folder / "patience").exists():
        be_impatient(seconds(folder / "patience"))
    stopgap.app.App = Shaken  # type: ignore[misc]
    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", lambda _: time.sleep(seconds(folder / "fsync")))
    sqlalchemy.event.listen(sqlalchemy.Engine, "begin", lambda it: refuse(it, folder / "readonly"))
    return stopgap.service.run(Settings())


if __name__ == "__main__":
    sys.exit(main())
