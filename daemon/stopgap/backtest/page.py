"""Page: a backtest as one HTML file that needs nothing from elsewhere: no script, no font, no image but its own SVG.

Label values are hostile: each is escaped by the template engine, cut to a bounded length, and what is not printable is shown as an
escape before that, so that no value can turn the reading direction or forge a line.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from stopgap.backtest import words
from stopgap.backtest.compare import Difference
from stopgap.backtest.picture import picture
from stopgap.backtest.result import Result
from stopgap.backtest.trace import Standing

LONGEST = 300  # characters of one value
MOST_ROWS = 200  # of one table
LEGEND = {
    Standing.FIRING: "firing, nothing is done",
    Standing.WAITING: "waiting: refused",
    Standing.MITIGATING: "acting: applying, verifying, taking back",
    Standing.MITIGATED: "mitigated and held",
    Standing.HANDED_OVER: "handed over to a person",
}


def page(*results: Result, differences: Sequence[Difference] | None = None) -> str:
    """Write a backtest, or two and where they differ."""
    heads = [one.rules_from if len(results) > 1 else "" for one in results]
    return _page.render(
        title="Backtest" if len(results) == 1 else "Backtest: old and new rules",
        intro=[line for one in results for line in words.intro(one)],
        differences=differences,
        parts=[_part(head, one) for head, one in zip(heads, results, strict=True)],
        notes=list(dict.fromkeys(line for one in results for line in words.notes(one))),
        legend={standing.value: text for standing, text in LEGEND.items()},
        most=MOST_ROWS,
    )


def _part(head: str, result: Result) -> dict[str, Any]:
    drawn = picture(result.traces, result.period)
    return {
        "head": head,
        "totals": words.totals(result),
        "picture": drawn,
        "left_out": [words.sentence(line) for line in drawn.left_out],
        "heads": words.HEADS,
        "rules": words.ranking(result),
        "sections": words.sections(result),
    }


def _printable(value: Any) -> Any:
    """Cut what is shown, and write what is not printable as an escape; our own paths are longer, and marked."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _side(value: int | str | None) -> str:
    return "-" if value is None else str(value)


_environment = Environment(
    autoescape=True, undefined=StrictUndefined, finalize=_printable, trim_blocks=True, lstrip_blocks=True
)
_environment.filters["short"] = _short
_environment.filters["side"] = _side
_page = _environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
