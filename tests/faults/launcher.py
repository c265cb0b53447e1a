"""Launcher: the real daemon on a machine whose wall clock can be set and whose disk can be slow.

Run as `python -m tests.faults.launcher FOLDER` with the daemon's settings in the environment. In FOLDER, `wall` holds the seconds
by which the wall clock is ahead, `fsync` the seconds that a commit takes longer; both are read whenever they count.
"""

import sys
import time
from pathlib import Path

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


def main() -> int:
    folder = Path(sys.argv[1])

    class Shaken(stopgap.app.App):
        """A daemon whose wall clock follows a file."""

        def __init__(self, settings: Settings) -> None:
            super().__init__(settings, SteadyClock(lambda: time.time() + seconds(folder / "wall")))

    stopgap.app.App = Shaken  # type: ignore[misc]
    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", lambda _: time.sleep(seconds(folder / "fsync")))
    return stopgap.service.run(Settings())


if __name__ == "__main__":
    sys.exit(main())
