"""Answers: the three findings of a probe, each with its reason on one short printable line."""

from stopgap.probe import Finding, Verdict

_LONGEST = 300


def healthy(why: str) -> Finding:
    """Say that what was expected is so."""
    return Finding(Verdict.HEALTHY, one_line(why))


def unhealthy(why: str) -> Finding:
    """Say that we looked and what was expected is not so."""
    return Finding(Verdict.UNHEALTHY, one_line(why))


def unknown(why: str) -> Finding:
    """Say that we could not look."""
    return Finding(Verdict.UNKNOWN, one_line(why))


def one_line(text: str, limit: int = _LONGEST) -> str:
    """Make text from outside safe to show: printable, on one line, bounded."""
    some = text[: limit * 4]
    if not some.isprintable():
        some = "".join(char if char.isprintable() else " " for char in some)
    line = " ".join(some.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
