"""Stage: where the demo is shown. One line per thing that happened: when, who, what; 80 columns, colours only on a terminal."""

import os
import textwrap
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TextIO

from stopgap.cli.screen import clean, cut

WIDTH = 80
_WHO = 12
_ROOM = WIDTH - 6 - 2 - _WHO - 2
_EVENT = 16


class Tone(StrEnum):
    """How a line is meant; its value is the terminal's code (ECMA-48)."""

    PLAIN = "0"
    DIM = "2"
    TITLE = "1"
    GOOD = "32"
    BAD = "31"
    NEWS = "33"
    OURS = "36"


_TONES = {
    "handed_over": Tone.BAD,
    "rung_failed": Tone.BAD,
    "revert_failed": Tone.BAD,
    "step_failed": Tone.BAD,
    "probe_unhealthy": Tone.NEWS,
    "probe_unknown": Tone.NEWS,
    "probe_healthy": Tone.GOOD,
    "mitigated": Tone.GOOD,
    "closed": Tone.GOOD,
}


class Stage:
    """Writes to `out`. `names` are words for addresses and directories that are long and say nothing."""

    def __init__(self, out: TextIO, names: Mapping[str, str] | None = None) -> None:
        self._out, self.names = out, dict(names or {})
        self._colours = out.isatty() and not os.environ.get("NO_COLOR")
        self._began = time.monotonic()

    def say(self, who: str, what: str, tone: Tone = Tone.PLAIN) -> None:
        """Write one line of what happened."""
        seconds = self._paint(f"{time.monotonic() - self._began:6.1f}", Tone.DIM)
        text = cut(self._shortened(what), _ROOM)
        self._write(f"{seconds}  {who:<{_WHO}}  {self._paint(text, tone)}")

    def event(self, line: dict[str, Any]) -> None:
        """Write one line of an incident's timeline."""
        event = str(line["event"])
        self.say("Stopgap", f"{event:<{_EVENT}}{words(line)}".rstrip(), _TONES.get(event, Tone.OURS))

    def title(self, text: str) -> None:
        """Begin an act."""
        self._write("")
        self._write(self._paint(f"── {text} {'─' * (WIDTH - len(text) - 4)}", Tone.TITLE))

    def aside(self, text: str) -> None:
        """Explain, between the lines."""
        for line in textwrap.wrap(text, WIDTH - 8):
            self._write(self._paint(f"        {line}", Tone.DIM))

    def line(self, text: str = "", tone: Tone = Tone.PLAIN) -> None:
        """Write a line as it is."""
        self._write(self._paint(text, tone) if text else "")

    def _shortened(self, text: str) -> str:
        for long, name in self.names.items():
            text = text.replace(long, name)
        return clean(text)

    def _paint(self, text: str, tone: Tone) -> str:
        return f"\x1b[{tone.value}m{text}\x1b[0m" if self._colours and tone is not Tone.PLAIN else text

    def _write(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


def words(line: dict[str, Any]) -> str:
    """Say in a few words what a timeline event tells beside its name."""
    match line["event"]:
        case "opened":
            said = [line.get("rule"), f"({line.get('severity')})"]
        case "step_started":
            said = [str(line.get("text", "")).replace(f"{line.get('action')}: ", "", 1)]
        case "step_succeeded" | "step_reverted" | "observed":
            said = [line.get("action"), f"in {line['seconds'] * 1000:.0f} ms" if "seconds" in line else None]
        case "probe_healthy" | "probe_unhealthy" | "probe_unknown":
            said = [f"{line.get('role')}:", _terse(str(line.get("why") or "as it should be"))]
        case "notified":
            said = [line.get("contact"), f"({line.get('when')})"]
        case _:
            keys = ("name", "cause", "outcome", "contact", "reason", "text", "why", "detail")
            said = [line.get(key) for key in keys]
    return " ".join(str(word) for word in said if word)


def _terse(why: str) -> str:
    """Leave out of a probe's words what the rest says already, so that what was wanted is not cut off."""
    for long, short in ((": status ", ": "), (", wanted == ", ", wanted ")):
        why = why.replace(long, short)
    return why
