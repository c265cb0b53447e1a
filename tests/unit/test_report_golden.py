"""Incidents that really ran, and what a person who was not there reads: `UPDATE_GOLDEN=1 pytest …` writes the texts anew."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests import stories
from tests.virtual import VirtualLoop

from stopgap.report import report

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
STORIES = {
    "climbed": stories.climbed,
    "flapped": stories.flapped,
    "held": stories.held,
    "stuck": stories.stuck,
    "watched": stories.watched,
}


def ran(name):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(STORIES[name]())


@pytest.mark.parametrize("name", STORIES)
def test_a_report_reads_as_it_was_reviewed(name):
    said = report(ran(name))
    golden = GOLDEN / f"{name}.md"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(said)
    assert said == golden.read_text()


@pytest.mark.parametrize("name", STORIES)
def test_every_report_on_the_way_can_be_written(name):
    story = ran(name)
    for end in range(1, len(story.timeline)):
        half = replace(
            story, timeline=story.timeline[:end], state=stories.fold("INC-1", story.timeline[:end])
        )
        assert report(half).endswith("All times are UTC.*\n")


def test_every_reviewed_report_belongs_to_a_story():
    assert {path.stem for path in GOLDEN.glob("*.md")} == set(STORIES)
