"""Words: what came of tests, for eyes: what failed and how it came to that, and what no test reached; 80 columns. Pure."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from stopgap.suite.coverage import Coverage, Reached
from stopgap.suite.running import Failure, Result

COLUMNS = 80
STORY = 40  # lines of a timeline that are shown
MOST = 8  # lines on which one of them is written
BELOW = " " * 17  # what goes on stands below the name of its event


def failed(result: Result) -> Iterator[str]:
    """Say what failed in one test."""
    yield from _wrapped(f"FAILED {result.path}:{result.line} ", result.name, "  ")
    for failure in result.failures:
        yield from _failure(failure)
    if result.story:
        yield f"  what had happened until {result.failures[0].at or 'the end'}:"
        left = len(result.story) - STORY
        if left > 0:
            yield f"    … {left} lines before"
        for line in result.story[-STORY:]:
            yield from _told(line)


def _told(line: str) -> Iterable[str]:
    """Write a line of a timeline whole, as far as that is bearable: why something was refused stands at its end."""
    return textwrap.wrap(
        f"    {line}",
        COLUMNS,
        subsequent_indent=BELOW,
        break_on_hyphens=False,
        max_lines=MOST,
        placeholder=" …",
    )


def _failure(failure: Failure) -> Iterator[str]:
    miss, at = failure.miss, f" at {failure.at}" if failure.at else ""
    head = f"  line {failure.line}{at}: {miss.key}"
    if not miss.expected:
        yield from _wrapped(f"{head}: ", miss.got, "    ")
        return
    yield _cut(head)
    yield from _wrapped("    expected  ", miss.expected, " " * 14)
    yield from _wrapped("    got       ", miss.got, " " * 14)


def covered(coverage: Coverage) -> Iterator[str]:
    """Say of each rule how much of it the tests came to, and what they did not."""
    for name, reached in sorted(coverage.rules.items()):
        yield from _wrapped(f"{name}: ", _counts(reached), "  ")
        for kind, there in reached.kinds.items():
            missing = [word for word, was in there.items() if not was]
            if missing:
                yield from _wrapped(f"  no test: {kind}: ", "; ".join(missing), "    ")


def _counts(reached: Reached) -> str:
    return ", ".join(
        f"{kind} {sum(there.values())}/{len(there)}" for kind, there in reached.kinds.items() if there
    )


def summed(results: Sequence[Result]) -> str:
    """Say how many tests there were, and how many failed."""
    bad = sum(not result.passed for result in results)
    files = len({result.path for result in results})
    return f"{len(results)} tests in {files} file{'s' if files != 1 else ''}, {bad} failed"


def _wrapped(head: str, text: str, indent: str) -> Iterable[str]:
    return textwrap.wrap(head + text, COLUMNS, subsequent_indent=indent, break_on_hyphens=False) or [head]


def _cut(line: str) -> str:
    return line if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…"
