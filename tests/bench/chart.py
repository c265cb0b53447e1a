"""Chart: the figures of a run as one SVG that stands for itself: bars by question, what they are held against, and the goals.

No script, no font of its own, nothing from elsewhere; it follows the reader's light or dark.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from tests.bench.report import Row, Section, Sense, number

WIDTH, LABEL, PLOT = 920, 300, 330  # units of the picture; values stand right of the plot
TOP, TITLE, LINE, GAP = 78, 26, 21, 16
BAR, THIN = 8, 4
FAR = 50.0  # times the smallest value: from here on a panel of times is logarithmic

PANELS = (
    ("latency", "ms"),
    ("storm", "/s"),
    ("layers", "us"),
    ("layers", "ms"),
    ("exec", "ms"),
    ("large", "ms"),
    ("growth", "MB"),
    ("growth", "s"),
    ("growth", "ms"),
    ("postgres", "/s"),
    ("postgres", "ms"),
)
"""What is drawn, in this order: a section's rows of one unit."""

_STYLE = """
:root { --ground: #ffffff; --text: #1f2328; --faint: #59636e; --own: #0969da; --other: #afb8c1; --goal: #bc4c00; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0d1117; --text: #e6edf3; --faint: #9198a1; --own: #4493f8; --other: #4d555e; --goal: #f0883e; }
}
text { font: 12px system-ui, sans-serif; fill: var(--text); }
.title { font-size: 17px; font-weight: 600; } .panel { font-weight: 600; } .faint { fill: var(--faint); }
.ground { fill: var(--ground); } .own { fill: var(--own); } .other { fill: var(--other); }
.goal { stroke: var(--goal); stroke-width: 2; } .missed { fill: var(--goal); }
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How values become lengths; where it is logarithmic, each step to the right multiplies."""

    least: float
    most: float
    logarithmic: bool = False

    def length(self, value: float) -> float:
        """Return how long a bar is."""
        if self.logarithmic:
            share = math.log(max(value, self.least) / self.least * 2) / math.log(self.most / self.least * 2)
        else:
            share = value / self.most
        return round(max(share * PLOT, 1.0), 1)


def chart(sections: Sequence[Section], heading: Sequence[str]) -> str:
    """Draw the panels of these sections below a heading of a title and two lines."""
    by_name = {section.name: section for section in sections}
    drawn: list[str] = []
    y = TOP
    for name, unit in PANELS:
        rows = _labelled(by_name[name].rows, unit) if name in by_name else []
        if rows:
            drawn += _panel(by_name[name].title, rows, y)
            y += TITLE + LINE * len(rows) + GAP
    return "\n".join([*_begin(y, heading), *drawn, "</svg>", ""])


def _labelled(rows: Sequence[Row], unit: str) -> list[Row]:
    """Return the rows of one unit; one that belongs below a row of another unit gets its name too."""
    found: list[Row] = []
    above = Row("", 0.0, "")
    for row in rows:
        above = above if row.name.startswith(" ") else row
        if row.unit == unit:
            lost = row is not above and above.unit != unit
            name = f"{above.name.partition(':')[0]}: {row.name.strip()}" if lost else row.name
            found.append(replace(row, name=name))
    return found


def _begin(height: int, heading: Sequence[str]) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-label="{escape(heading[0])}">'
    )
    yield f"<style>{_STYLE}</style>"
    yield f'<rect class="ground" width="{WIDTH}" height="{height}"/>'
    for number_of, (line, kind) in enumerate(zip(heading, ("title", "faint", "faint"), strict=False)):
        yield f'<text class="{kind}" x="16" y="{26 + 18 * number_of}">{escape(line)}</text>'
    x = WIDTH - 250
    yield f'<rect class="own" x="{x}" y="14" width="18" height="{BAR}"/><text x="{x + 24}" y="22">Stopgap</text>'
    yield f'<rect class="other" x="{x + 84}" y="16" width="18" height="{THIN}"/><text x="{x + 108}" y="22">against</text>'
    yield f'<line class="goal" x1="{x + 170}" y1="12" x2="{x + 170}" y2="24"/><text x="{x + 178}" y="22">goal</text>'


def _panel(title: str, rows: Sequence[Row], y: int) -> Iterator[str]:
    values = [value for row in rows for value in (row.value, row.against, _goal(row)) if value]
    far = rows[0].unit in ("ms", "s") and max(values) > FAR * min(values)
    scale = Scale(min(values), max(values), far)
    note = ", logarithmic" if scale.logarithmic else ""
    yield (
        f'<text class="panel" x="16" y="{y + 12}">{escape(title)}'
        f'<tspan class="faint">, in {escape(rows[0].unit)}{note}</tspan></text>'
    )
    for place, row in enumerate(rows):
        yield from _bars(row, scale, y + TITLE + place * LINE)


def _bars(row: Row, scale: Scale, y: int) -> Iterator[str]:
    indent = 28 if row.name.startswith(" ") else 16
    yield f'<text x="{indent}" y="{y + 9}">{escape(row.name.strip())}</text>'
    length = scale.length(row.value)
    yield f'<rect class="own" x="{LABEL}" y="{y}" width="{length}" height="{BAR}"/>'
    if row.against is not None:
        other = scale.length(row.against)
        yield f'<rect class="other" x="{LABEL}" y="{y + BAR + 1}" width="{other}" height="{THIN}"/>'
        length = max(length, other)
    goal = _goal(row)
    if goal is not None:
        x = LABEL + scale.length(goal)
        yield f'<line class="goal" x1="{x}" y1="{y - 3}" x2="{x}" y2="{y + BAR + 3}"/>'
        length = max(length, x - LABEL)
    yield f'<text x="{LABEL + length + 8:g}" y="{y + 9}">{"".join(_said(row))}</text>'


def _said(row: Row) -> Iterator[str]:
    yield number(row.value)
    if row.against is not None:
        yield f'<tspan class="faint"> to {number(row.against)}</tspan>'
    if row.goal is not None:
        reached = "reached" if row.reached else "missed"
        kind = "faint" if row.reached else "missed"
        ratio = f"{row.ratio:.2f} times, " if row.ratio is not None and not row.goal.unit else ""
        yield f'<tspan class="{kind}"> {ratio}{escape(str(row.goal))}: {reached}</tspan>'


def _goal(row: Row) -> float | None:
    """Return the goal as a value that can be drawn: a goal of the ratio is so many times what it is held against."""
    if row.goal is None:
        return None
    if row.goal.unit or row.against is None:
        return row.goal.value
    if row.goal.sense is not Sense.AT_LEAST and row.unit == "/s":
        return row.against / row.goal.value  # a goal of the cost: the rate may be so many times lower
    return row.goal.value * row.against
