"""Backtest on the command line: what rules would have done with the alerts of the past, or what two sets of them differ in."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stopgap.cli.client import AsJson
from stopgap.cli.daemon import Vars, VarsFiles, settings
from stopgap.cli.screen import WRONG_USAGE, clean, fail, show_json

if TYPE_CHECKING:
    from stopgap.backtest.assumed import Assumed
    from stopgap.backtest.history import History, Period, Progress, Transition
    from stopgap.backtest.result import Result
    from stopgap.contacts import Book
    from stopgap.context import Http
    from stopgap.rulebook import Rulebook

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AFTERWARDS = timedelta(
    hours=1
)  # how long a file's history goes on after its last line, so that recoveries are seen
PANEL = "What happened"


def backtest(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH…", help="Rules; else --rules' default.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="OLD NEW", help="Two sets of rules on the same history."),
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option(metavar="URL", help="Take the alerts of this Prometheus: the default.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Take those in the journal of a daemon, running or stopped.")
    ] = None,
    events: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Take those that Alertmanager's event recorder wrote, or webhook bodies."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="RFC 3339, or how long ago: 30d, which is the default."),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="The same; else now.")] = None,
    step: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Look at Prometheus so often; else as its rules do."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="An external label, which Prometheus keeps to itself; repeatable."
        ),
    ] = None,
    assume: Annotated[
        str, typer.Option(metavar="VERDICT", help="What verify probes say: healthy, unhealthy or unknown.")
    ] = "healthy",
    act: Annotated[bool, typer.Option("--act", help="Let rules in shadow or approve act, too.")] = False,
    approve: Annotated[bool, typer.Option("--approve", help="Let people say yes to each request.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the timeline as a picture, too.")
    ] = None,
    vars_: VarsFiles = None,
    var: Vars = None,
    as_json: AsJson = False,
) -> None:
    """Say what rules would have done with the alerts of the past; asks and changes nothing but that history."""
    from stopgap.cli import backtested

    chosen = settings(vars=vars_, var=var, prometheus=prometheus)
    if compare is not None and paths:
        fail("--compare names both sets of rules: leave PATH away", WRONG_USAGE)
    sets = [(path,) for path in compare] if compare else [tuple(paths or [chosen.rules])]
    rules = [_loaded(one, chosen.all_vars()) for one in sets]
    assumed = _assumed(assume, act=act, approve=approve)
    asked = _Asked(data, tuple(events or ()), step, _labels(label or []), chosen.prometheus)
    results = _run(rules, asked, _period(since, until), assumed)
    _page(html, results)
    show_json(backtested.shape(results)) if as_json else backtested.show(results)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What some paths hold, and their names for people."""

    name: str
    book: "Rulebook"
    contacts: "Book"

    def known(self, pack: str, name: str) -> bool:
        """Tell whether a pack or the site has a contact of this name."""
        return name in self.contacts.get(pack, {}) or name in self.contacts.get("", {})


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which history is wanted."""

    data: Path | None
    events: tuple[Path, ...]
    step: str | None
    labels: dict[str, str]
    prometheus: str | None


# --- what is given ---


def _loaded(paths: tuple[Path, ...], given: dict[str, str]) -> _Rules:
    """Load rules; ends with 2 when something is wrong with them."""
    from stopgap.cli.problems import refuse
    from stopgap.config import Loaded, load
    from stopgap.errors import ConfigError, Problem
    from stopgap.matcher import MatcherIndex
    from stopgap.simulate.environ import Environ
    from stopgap.simulate.stage import Stage
    from stopgap.stock import build_catalog

    found, problems = list[Loaded](), list[Problem]()
    for path in paths:
        try:
            found.append(load(path, Stage(build_catalog).catalog, vars=given, environ=Environ(os.environ)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        refuse(problems)
        raise typer.Exit(WRONG_USAGE)
    rules = {rule.id: rule for one in found for rule in one.rules}
    if len(rules) < sum(len(one.rules) for one in found):
        fail("two of these paths hold rules of the same name", WRONG_USAGE)
    book = replace(
        found[0].rulebook,
        rules=rules,
        index=MatcherIndex((rule.matchers, rule) for rule in rules.values()),
        secrets={pack: secrets for one in found for pack, secrets in one.secrets.items()},
    )
    contacts = {pack: book for one in found for pack, book in one.contacts.items()}
    return _Rules(", ".join(map(str, paths)), book, contacts)


def _assumed(verdict: str, *, act: bool, approve: bool) -> "Assumed":
    from stopgap.backtest.assumed import Assumed
    from stopgap.probe import Verdict

    try:
        return Assumed(Verdict(verdict), act=act, approve=approve)
    except ValueError:
        fail(clean(f"--assume {verdict}: write healthy, unhealthy or unknown"), WRONG_USAGE)


def _labels(given: list[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, there, value = text.partition("=")
        if not there or not name:
            fail(clean(f"--label {text}: write NAME=VALUE"), WRONG_USAGE)
        found[name] = value
    return found


def _period(since: str | None, until: str | None) -> "tuple[datetime | None, datetime | None]":
    now = datetime.now(UTC).replace(microsecond=0)
    begin, end = _instant("--from", since, now), _instant("--to", until, now)
    if begin is not None and begin >= (end or now):
        fail("--from is not before --to", WRONG_USAGE)
    return begin, end


def _instant(flag: str, text: str | None, now: datetime) -> datetime | None:
    """Read a time, or how long ago."""
    from stopgap.duration import parse_duration
    from stopgap.endpoint import instant

    if text is None:
        return None
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return instant(f"{text}T00:00:00Z" if len(text) == len("2026-11-21") else text)
    except ValueError:
        fail(clean(f"{flag} {text}: write 30d, 2026-11-21 or 2026-11-21T09:00:00Z"), WRONG_USAGE)


# --- what is done ---


def _run(
    rules: list[_Rules], asked: _Asked, wanted: "tuple[datetime | None, datetime | None]", assumed: "Assumed"
) -> "list[Result]":
    """Read the history and replay it; ends with 1 when it cannot be read."""
    from stopgap.backtest.history import HistoryError

    try:
        history, found, period = asyncio.run(_read(rules, asked, wanted))
    except HistoryError as error:
        fail(clean(error))
    return [_replayed(one, history, found, period, assumed) for one in rules]


async def _read(
    rules: list[_Rules], asked: _Asked, wanted: "tuple[datetime | None, datetime | None]"
) -> "tuple[History, list[Transition], Period]":
    """Read the history once, whoever it is replayed to. Raises HistoryError."""
    from stopgap.backtest.history import Period
    from stopgap.backtest.replay import read
    from stopgap.context import Http

    now = datetime.now(UTC).replace(microsecond=0)
    http = Http()
    try:
        history = _history(rules, asked, http)
        default = EPOCH if asked.data or asked.events else now - timedelta(days=30)
        period = Period(wanted[0] or default, wanted[1] or now)
        with _bar("reading") as progress:
            found = await read(history, period, progress)
    finally:
        await http.close()
    if default == EPOCH and found:  # a file's history is as long as it is
        last = min(found[-1].at + AFTERWARDS, period.until)
        first = found[0].at.replace(microsecond=0) - timedelta(seconds=1)
        period = Period(wanted[0] or first, wanted[1] or last)
    return history, found, period


def _history(rules: list[_Rules], asked: _Asked, http: "Http") -> "History":
    from stopgap.backtest.evented import Evented
    from stopgap.backtest.journaled import Journaled
    from stopgap.backtest.recorded import LONGEST_STEP, Recorded
    from stopgap.cli.stopped import refuse_shared
    from stopgap.endpoint import without_secrets
    from stopgap.prometheus import Prometheus

    if asked.data and asked.events:
        fail("name one of --prometheus, --data and --events", WRONG_USAGE)
    if asked.data:
        refuse_shared(asked.data, "Use --prometheus URL or --events FILE")
        return Journaled(asked.data)
    if asked.events:
        return Evented(asked.events)
    if asked.prometheus is None:
        fail("which alerts? Name --prometheus URL, --data DIR or --events FILE", WRONG_USAGE)
    step = _step(asked.step)
    if step is not None and not timedelta(seconds=1) <= step <= LONGEST_STEP:
        fail("--step: from 1s to 5m, beyond which Prometheus forgets a sample", WRONG_USAGE)
    prometheus = Prometheus(asked.prometheus, http.session)
    every = [rule for one in rules for rule in one.book.rules.values()]
    return Recorded(prometheus, without_secrets(asked.prometheus), every, step, asked.labels)


def _step(text: str | None) -> timedelta | None:
    from stopgap.duration import parse_duration

    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        fail(clean(f"--step: {error}"), WRONG_USAGE)


def _replayed(
    rules: _Rules, history: "History", found: "list[Transition]", period: "Period", assumed: "Assumed"
) -> "Result":
    from stopgap.backtest.replay import Replay
    from stopgap.stock import build_catalog

    replay = Replay(found, period, assumed)
    with _bar(f"replaying {rules.name}") as progress:
        tally = replay.run(build_catalog, rules.book, rules.known, progress)
    return replay.result(rules.name, history, rules.book, tally)


def _page(file: Path | None, results: "list[Result]") -> None:
    """Write the page, if one is wanted; ends with 2 when it cannot be written."""
    if file is None:
        return
    from stopgap.backtest.compare import differences
    from stopgap.backtest.page import page

    found = differences(*results) if len(results) > 1 else None
    try:
        file.write_text(page(*results, differences=found), encoding="utf-8")
    except OSError as error:
        fail(f"the page cannot be written: {clean(error)}", WRONG_USAGE)


@contextmanager
def _bar(what: str) -> "Iterator[Progress]":
    """Show on a terminal how far it is; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(clean(what), total=1.0)
        yield lambda share: bar.update(task, completed=share)
