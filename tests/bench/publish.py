"""Publish: the figures of one whole run as the docs show them: a page with the table, and a chart."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import orjson
from tests.bench.chart import chart
from tests.bench.report import Section, head, table

FIGURES = Path(__file__).parent / "figures"
_PAGE = """\
# The figures

Drawn from one run of `make bench`; its third line says of which kind. `make bench ARGS=--publish` measures all of it and
writes this page anew, unless the machine was busy. [What each row means, and how it is measured](../README.md). Compare
ratios; seconds are this machine's.

![{title}](storm.svg)

```text
{text}
```
"""


def heading(found: Mapping[str, Any]) -> list[str]:
    """Say what, on what, how much, and with which limits."""
    on = found["machine"]
    cores = f"{on['cores']} cores of {on['cpu']}, {on['memory_mb'] / 1024:.0f} GB"
    system = (
        f"{on['system'].split('-')[0]}, {on['python']}, {on['filesystem']}, fsync {on['fsync_ms']:.2g} ms"
    )
    run = f"{found['scale']} run, load before {on['load_before']:.1f}; guards on, with limits that refuse nothing"
    return [f"Stopgap {found['version']} in a storm, {found['at'][:10]}", f"{cores}, {system}", run]


def text(found: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """Return everything on 80 columns."""
    said = [*heading(found), f"limits raised: {found['limits']}"]
    lines = [fill(line, 80, subsequent_indent="  ", break_on_hyphens=False) for line in said]
    return "\n".join([*lines, "", head(), *(table(one) for one in sections)])


def publish(found: Mapping[str, Any], directory: Path = FIGURES) -> Path:
    """Write page and chart; returns the page."""
    sections = [Section.from_json(section) for section in found["sections"]]
    directory.mkdir(exist_ok=True)
    (directory / "storm.svg").write_text(chart(sections, heading(found)), encoding="utf-8")
    page = directory / "README.md"
    title = heading(found)[0]
    page.write_text(_PAGE.format(title=title, text=text(found, sections)), encoding="utf-8")
    return page


if __name__ == "__main__":  # python -m tests.bench.publish bench-DATE.json DIRECTORY
    publish(orjson.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
