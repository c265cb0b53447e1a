"""Launcher: the real daemon, which ends by SIGKILL right after its n-th timeline line is on disk and before anything hears of it.

Run as `python -m tests.crash.launcher N` with the daemon's settings in the environment; N = 0 never kills.
"""

import os
import signal
import sys

import stopgap.app
from stopgap.journal import CONTROL, Line
from stopgap.settings import Settings


class Mortal(stopgap.app.App):
    """A daemon with a deadline in lines."""

    lines_left = 0

    def _observe(self) -> None:
        self.store.subscribe(self._count)
        super()._observe()

    def _count(self, line: Line) -> None:
        if line.incident == CONTROL or not self.lines_left:
            return
        self.lines_left -= 1
        if not self.lines_left:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    Mortal.lines_left = int(sys.argv[1])
    stopgap.app.App = Mortal  # type: ignore[misc]
    return stopgap.app.run(Settings())


if __name__ == "__main__":
    sys.exit(main())
