"""Log: one line per timeline event and whatever else is worth saying, as JSON lines, or for the eye when a terminal reads.

Values come from strangers (label values, answers of servers): whatever is not printable is written as an escape, and everything is
bounded, so that no value can forge a line, steer a terminal or fill a disk.
"""

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import orjson
import structlog

from stopgap.incident import Event, EventKind as K, Incident
from stopgap.journal import Line

LONGEST_VALUE = 2000  # characters of one text
LONGEST_TRACE = 20_000  # characters of one traceback
MOST_ITEMS = 50  # of one list or mapping
DEEPEST = 6
MOST_HELD = 1000  # lines that wait for the end of a turn

_timeline = structlog.get_logger("stopgap.timeline")

LEVELS: Mapping[K, int] = {
    K.HANDED_OVER: logging.ERROR,
    K.REVERT_FAILED: logging.ERROR,
    K.STEP_UNKNOWN: logging.WARNING,
    K.STEP_FAILED: logging.WARNING,
    K.RUNG_FAILED: logging.WARNING,
    K.PROBE_UNKNOWN: logging.WARNING,
    K.MITIGATION_LOST: logging.WARNING,
    K.LEASE_ENDING: logging.WARNING,
    K.LEASE_EXPIRED: logging.ERROR,
    K.DRIFTED: logging.WARNING,
    K.NOTIFY_FAILED: logging.WARNING,
    K.BRAKED: logging.WARNING,
    K.DRILL_OVERTAKEN: logging.WARNING,
    K.RELOAD_FAILED: logging.ERROR,
    K.LOGIN_REFUSED: logging.WARNING,
    K.CLOCK_JUMPED: logging.WARNING,
    K.CLOCK_FOLLOWED: logging.WARNING,
}
"""Events that are more than news."""

_BULKY = frozenset({"labels", "annotations"})
_RESERVED = frozenset({"event", "level", "timestamp", "logger", "exception"})
"""What structlog keeps for itself: a detail of that name is renamed."""


def observe(line: Line, state: Incident) -> None:
    """Write one committed event; an observer of the engine."""
    event = line.event
    detail = _said(event)
    told = {"incident": line.incident, "seq": event.seq}
    if state.rule:
        told |= {"rule": state.rule, "target": state.target, "phase": state.phase.value}
    if state.drill:
        told["drill"] = state.drill
    level, entry = LEVELS.get(event.kind, logging.INFO), detail | told
    lines = structlog.get_config()["logger_factory"]
    if not isinstance(lines, _JsonLines) or not lines.write(level, event.kind.value, entry):
        _timeline.log(level, event.kind.value, **entry)


def _said(event: Event) -> dict[str, Any]:
    """Leave out what is long and stands in the timeline: of the alerts of an opening their labels stay."""
    detail = {key: value for key, value in event.detail.items() if key not in _BULKY}
    if not _RESERVED.isdisjoint(detail):
        detail = {f"{key}_" if key in _RESERVED else key: value for key, value in detail.items()}
    if event.kind is K.OPENED:
        detail["alerts"] = [alert.get("labels") for alert in detail.get("alerts", {}).values()]
    if event.kind is K.ALERT_JOINED:
        detail["labels"] = event.detail.get("labels")
    return detail


# --- making values harmless ---


def printable(text: str, longest: int = LONGEST_VALUE) -> str:
    """Escape whatever is not printable, and cut what is too long."""
    cut = text if len(text) <= longest else text[:longest] + f"…[{len(text)} characters]"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def harmless(value: Any, depth: int = 0) -> Any:
    """Return a bounded copy of a value in which every text is printable."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)[:LONGEST_VALUE]
    if depth < DEEPEST and isinstance(value, Mapping):
        return {printable(str(k)): harmless(v, depth + 1) for k, v in list(value.items())[:MOST_ITEMS]}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [harmless(v, depth + 1) for v in list(value)[:MOST_ITEMS]]
    return printable(str(value))


def _sanitize(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    trace = entry.pop("exception", None)
    clean: MutableMapping[str, Any] = harmless(dict(entry))
    if trace is not None:
        lines = str(trace)[-LONGEST_TRACE:].splitlines()
        clean["exception"] = "\n".join("    " + printable(line) for line in lines)
    return clean


# --- lines that are harmless as they are ---

_JSON_ONLY = (
    orjson.OPT_STRICT_INTEGER  # refuses what `harmless` writes as text
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def straight(entry: Mapping[str, Any]) -> str | None:
    """Return the JSON of an entry of which `harmless` would change nothing, or None when it might.

    Told by the text itself, and rather too strictly: without a backslash nothing was escaped, a list of 51 has 50 commas, and
    what is nested seven deep has seven brackets.
    """
    try:
        text = orjson.dumps(entry, option=_JSON_ONLY).decode()
    except TypeError:
        return None
    short = len(text) <= LONGEST_VALUE and text.count(",") < MOST_ITEMS
    flat = short and text.count("{") + text.count("[") <= DEEPEST
    return text if flat and "\\" not in text and text.isprintable() else None


class _Outlet:
    """Where lines go in the end. Nobody takes them (a full disk, a reader that is gone)? They are lost; who speaks goes on."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> None:
        """Write, or lose it."""
        with suppress(OSError, ValueError):  # ValueError: it was closed
            self._out.write(text)

    def flush(self) -> None:
        """Flush, if it can be."""
        with suppress(OSError, ValueError):
            self._out.flush()


class _Gathered:
    """Writes all that is said within one turn of the event loop at once: with each write another thread takes the interpreter."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._held: deque[str] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None  # which will write

    def write(self, text: str) -> None:
        """Take up some text; where no event loop turns, it is written at once."""
        self._held.append(text)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write()
            return
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._write)
        elif len(self._held) >= MOST_HELD:
            self._write()

    def flush(self) -> None:
        """Do nothing: it is flushed when it is written."""

    def _write(self) -> None:
        self._loop = None
        held = []
        while self._held:
            held.append(self._held.popleft())
        self._out.write("".join(held))
        self._out.flush()


class _JsonLines(structlog.WriteLoggerFactory):
    """Makes the loggers of JSON lines, and writes most of the timeline itself: the processors cost as much as the decision."""

    def __init__(self, out: TextIO, level: int) -> None:
        self._out = _Gathered(out)
        super().__init__(cast("TextIO", self._out))
        self._level = level

    def write(self, level: int, event: str, more: Mapping[str, Any]) -> bool:
        """Write the line that the processors would, or return False when it is theirs to make it harmless."""
        if level < self._level:
            return True
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        text = straight({"timestamp": now, "level": _NAMES[level], "event": event, **more})
        if text is not None:
            self._out.write(text + "\n")
        return text is not None


_NAMES = {level: logging.getLevelName(level).lower() for level in {logging.INFO, *LEVELS.values()}}


# --- configuration ---


def configure(
    *, console: bool | None = None, level: int = logging.INFO, stream: TextIO | None = None
) -> None:
    """Send everything, that of libraries too, to `stream` (stderr): JSON lines, or text when it is a terminal."""
    given = stream or sys.stderr
    pretty = given.isatty() if console is None else console
    out = cast("TextIO", _Outlet(given))
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(pretty=pretty)],
    )
    root = logging.StreamHandler(out)
    root.setFormatter(formatter)
    logging.basicConfig(handlers=[root], level=max(level, logging.WARNING), force=True)
    structlog.configure(
        processors=[*shared, *_rendering(pretty=pretty)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out) if pretty else _JsonLines(out, level),
        cache_logger_on_first_use=False,
    )


def _rendering(*, pretty: bool) -> list[Any]:
    trace = structlog.processors.format_exc_info
    if pretty:
        plain = structlog.dev.plain_traceback
        return [trace, _sanitize, structlog.dev.ConsoleRenderer(colors=_colours(), exception_formatter=plain)]
    return [trace, _sanitize, structlog.processors.JSONRenderer(serializer=_dump)]


def _colours() -> bool:
    return not os.environ.get("NO_COLOR")


def _dump(entry: Any, **_: Any) -> str:
    """Write one line of JSON, what every line has first; lone surrogates were escaped before."""
    first = {name: entry.pop(name, None) for name in ("timestamp", "level", "event")}
    return orjson.dumps({**first, **entry}).decode()
