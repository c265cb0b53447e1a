"""Report: one incident as Markdown, ready to paste into a post-mortem.

Pure: the incident, its timeline and its rule go in, text comes out. It promises that whoever was not there can tell what happened,
that no value of an alert becomes structure, a link or HTML, and that whatever is left out is said. It knows no undo and no secret.
"""

from stopgap.report.document import report
from stopgap.report.story import Story

__all__ = ["Story", "report"]
