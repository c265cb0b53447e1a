"""The phase diagram of the map is the transition table, drawn; run this file as a module to draw it anew."""

from pathlib import Path

from stopgap.incident import Phase
from stopgap.transitions import ARCS, mermaid

MAP = Path(__file__).resolve().parents[2] / "daemon" / "README.md"
BEGIN, END = "<!-- phases -->\n", "<!-- /phases -->"


def drawn(text: str) -> str:
    """Return the map with a fresh diagram."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}```mermaid\n{mermaid()}\n```\n{END}{after}"


def test_the_diagram_of_the_map_is_fresh():
    text = MAP.read_text()
    assert text == drawn(text), "draw it anew: python -m tests.unit.test_phase_diagram"


def test_the_diagram_shows_every_row_of_the_table_and_both_ends():
    lines = mermaid().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert lines[1] == "    [*] --> open: opened"
    assert lines[-1] == f"    {Phase.CLOSED} --> [*]"
    for arc in ARCS:
        (arrow,) = (line for line in lines if line.startswith(f"    {arc.source} --> {arc.to}: "))
        assert arc.event in arrow
        assert arc.words in arrow


def test_the_map_fits_on_a_few_screens():
    assert len(MAP.read_text().splitlines()) <= 160


if __name__ == "__main__":
    MAP.write_text(drawn(MAP.read_text()))
