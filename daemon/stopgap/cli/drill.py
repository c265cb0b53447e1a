"""Drill on the command line: plays the game day of a file against the running daemon, shows it as it happens, and judges it.

The daemon plays it; this only watches. Whatever becomes of the watching, the drill's alert is over in time.
"""

import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.error import HTTPError
from urllib.parse import quote

import typer

from stopgap.cli.client import URL, AsJson, Client, Url, person
from stopgap.cli.incidents import PATH as INCIDENTS, in_words, standing
from stopgap.cli.screen import REFUSED, WRONG_USAGE, clean, counted, fail, show_json, table, wrapped

if TYPE_CHECKING:
    from stopgap.drill.expectation import Course, Expectation, Judgement
    from stopgap.drill.script import Script

PATH = "/api/v1/drills"
EVERY = 0.5  # seconds between two looks
LATE = timedelta(seconds=10)  # that a message about the end may take
PATIENCE = 120.0  # seconds that a daemon may be away: it restarts
ENDS = ("handed_over", "drill_overtaken")  # after these a drill has nothing more to show


class Away(Exception):  # noqa: N818 - ends one look
    """The daemon does not answer just now."""


class Patient(Client):
    """A client for whom no answer is not the end."""

    def _refused(self, error: HTTPError) -> NoReturn:
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Away(f"it answered {error.code}")
        super()._refused(error)

    def _silent(self, reason: object) -> NoReturn:
        raise Away(clean(reason))


def drill(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What is played: *.drill.yaml.")],
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Rehearse: plan, ask guards, write down; do nothing.")
    ] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Give the alert this label: the site has its own."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report into this file, which may exist.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing before it begins.")] = False,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Play a game day: a made-up alert through the whole live path, under all guards; says what came of it.

    Exit 0: all came as expected; 1: not, or it was ended early; 2: the file is wrong.
    """
    script = _read(file, label or [])
    _say_what(script, shadow=shadow, quiet=as_json)
    if not shadow:
        _confirm(script, yes=yes, quiet=as_json)
    watch = Watch(script, Client(url), Patient(url), shadow=shadow, quiet=as_json)
    with _ending_well(watch):
        watch.begin()
        watch.go()
    judged = watch.judged()
    if as_json:
        show_json(_told(watch, judged))
    else:
        _table(judged)
        watch.say_what_remains()
    if out is not None:
        text = _report(watch, judged)  # asks the daemon, which may be away by now
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            fail(f"the report cannot be written: {clean(error)}", WRONG_USAGE)
    if not watch.passed(judged):
        raise typer.Exit(REFUSED)


def _read(file: Path, given: list[str]) -> "Script":
    from dataclasses import replace

    from stopgap.cli.problems import written
    from stopgap.drill.script import read_script
    from stopgap.errors import ConfigError

    try:
        script = read_script(file)
    except ConfigError as error:
        for line in written(error.problems, colour=False):
            typer.echo(line, err=True)
        fail(f"{clean(file)} is not a drill: {counted(len(error.problems), 'problem')}", WRONG_USAGE)
    pairs = [
        (name, value) for name, is_one, value in (each.partition("=") for each in given) if is_one and name
    ]
    if len(pairs) < len(given):
        fail("--label takes NAME=VALUE", WRONG_USAGE)
    return replace(script, labels={**script.labels, **dict(pairs)})


# --- before ---


def _say_what(script: "Script", *, shadow: bool, quiet: bool) -> None:
    if quiet:
        return
    typer.echo(f"drill {clean(script.name)}{' in shadow: nothing is done' if shadow else ''}")
    wrapped("  proves", script.proves)
    labels = ", ".join(f"{name}={value}" for name, value in script.labels.items())
    wrapped("  alert ", labels)


def _confirm(script: "Script", *, yes: bool, quiet: bool) -> None:
    """Let a person break what must be broken, and say that it may begin: what follows is really done."""
    if script.before and not quiet:
        wrapped("  first ", script.before)
    if yes:
        return
    if not sys.stdin.isatty():
        fail("a drill really does what its rules say: add --yes, or --shadow to rehearse", WRONG_USAGE)
    asked = "Is that done, and may the drill begin?" if script.before else "May the drill begin?"
    if not typer.confirm(asked, err=quiet):
        fail("the drill did not begin")


# --- while it lasts ---


class Watch:
    """One drill, from its begin to the end of the watching."""

    def __init__(
        self, script: "Script", client: Client, patient: Client, *, shadow: bool, quiet: bool
    ) -> None:
        from stopgap.drill.expectation import in_shadow

        self.script = script
        self.shadow = shadow
        self.client = client
        self.incidents: list[dict[str, Any]] = []
        self.interrupted = False
        self.started_at = datetime.now(UTC)
        self._patient = patient
        self._quiet = quiet
        self._ids: list[str] = []
        self._printed: set[tuple[str, int]] = set()
        self._begun = False
        self._fires = False
        self._over = False
        self._closed_at: float | None = None
        self._settled: set[int] = set()
        self._unasked: tuple[Judgement, ...] = ()
        self._expected: tuple[Expectation, ...] = script.expect
        if shadow:
            self._expected, self._unasked = in_shadow(script.expect)

    def begin(self) -> None:
        """Let the alert fire."""
        body = {
            "name": self.script.name,
            "labels": dict(self.script.labels),
            "annotations": dict(self.script.annotations),
            "for": f"{round(self.script.lasts.total_seconds() * 1000)}ms",
            "shadow": self.shadow,
            "by": person(),
        }
        self._begun = True  # an answer that is lost must not leave it firing
        told = self.client.send("POST", PATH, body)
        self._fires = True
        self.started_at = datetime.fromisoformat(told["started_at"])
        self._ids = [one["id"] for one in told["incidents"]]
        for one in told["incidents"]:
            self._say(self.started_at, "drill", f"{one['id']}: {one['rule']} on {one['target']}")

    def go(self) -> None:
        """Watch until all is closed and told, or the time is over."""
        end, heard = time.monotonic() + self.script.limit.total_seconds(), time.monotonic()
        while time.monotonic() < end and not self._done():
            try:
                self._look()
                heard = time.monotonic()
            except Away as away:
                if time.monotonic() - heard > PATIENCE:
                    self._say(datetime.now(UTC), "drill", f"the daemon is away ({away}): watched no longer")
                    break
            time.sleep(EVERY)
        self.end()
        self._over = True

    def end(self) -> None:
        """Let the alert be over, if it may fire yet."""
        if not self._begun:
            return
        try:
            self._patient.send("DELETE", f"{PATH}/{quote(self.script.name, safe='')}", by=person())
        except Away:
            self._say(datetime.now(UTC), "drill", "the daemon is away: it ends the alert by itself, in time")
        if self._fires and self.script.after and not self.shadow:
            self._say(datetime.now(UTC), "now", self.script.after)
        self._fires = False

    def _look(self) -> None:
        self.incidents = [self._patient.get(f"{INCIDENTS}/{quote(one, safe='')}") for one in self._ids]
        self._show()
        seen = {line["event"] for one in self.incidents for line in one["timeline"]}
        until = "shadow_planned" if self.shadow and self.script.until else self.script.until
        if self._fires and not seen.isdisjoint({until, *ENDS}):
            self.end()
        if self._fires and datetime.now(UTC) > self.started_at + self.script.lasts:
            self.end()

    def _show(self) -> None:
        lines = [
            (line["at"], one["id"], line)
            for one in self.incidents
            for line in one["timeline"]
            if (one["id"], line["seq"]) not in self._printed
        ]
        for at, identifier, line in sorted(lines, key=lambda each: (each[0], each[1], each[2]["seq"])):
            self._printed.add((identifier, line["seq"]))
            self._say(datetime.fromisoformat(at), line["event"], in_words(line))
        for i, one in enumerate(self.judged()):
            if i not in self._settled and one.state in ("met", "missed"):
                self._settled.add(i)
                self._say(
                    None, "ok" if one.state == "met" else "NOT OK", f"{one.expectation.text}: {one.got}"
                )

    def _say(self, at: datetime | None, word: str, text: str) -> None:
        if self._quiet:
            return
        after = f"{(at - self.started_at).total_seconds():6.1f}" if at is not None else " " * 6
        wrapped(f"{after}  {clean(word):<16}", text)

    def _done(self) -> bool:
        """Tell whether nothing is left to come: all closed, and what must be told of that told, or given time for it."""
        if not self._course().closed:
            return False
        self._closed_at = self._closed_at or time.monotonic()
        waits = any(one.state == "pending" and one.expectation.kind == "told" for one in self.judged())
        return not waits or time.monotonic() - self._closed_at > LATE.total_seconds()

    # --- what came of it ---

    def _course(self) -> "Course":
        from stopgap.drill.expectation import Course

        return Course(self.started_at, datetime.now(UTC), self.incidents, over=self._over)

    def judged(self) -> "tuple[Judgement, ...]":
        """Judge everything by what there is so far."""
        from stopgap.drill.expectation import judge

        return (*judge(self._expected, self._course()), *self._unasked)

    def passed(self, judged: "tuple[Judgement, ...]") -> bool:
        """Tell whether all came as expected, and nobody ended it."""
        from stopgap.drill.expectation import passed

        return passed(judged) and not self.interrupted

    def say_what_remains(self) -> None:
        """Name the incidents that are not closed: the daemon goes on with them."""
        for one in self.incidents:
            if one["phase"] != "closed":
                typer.echo(f"{clean(one['id'])} goes on: {standing(one)}")


@contextmanager
def _ending_well(watch: Watch) -> Iterator[None]:
    """End the drill's alert when somebody ends the watching; its result is what there is until then."""

    def ends(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, ends) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        watch.interrupted = True
        typer.echo(
            "\nended early: the drill's alert is over, and what it holds is taken back in time", err=True
        )
        watch.end()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- afterwards ---


def _rows(judged: "tuple[Judgement, ...]") -> list[tuple[str, str, str, str]]:
    words = {"met": "yes", "missed": "NO", "pending": "NO", "unasked": "-"}
    return [
        (one.expectation.text, one.expectation.wanted, one.got or "did not come yet", words[one.state])
        for one in judged
    ]


def _table(judged: "tuple[Judgement, ...]") -> None:
    typer.echo("")
    table(("EXPECTED", "WANTED", "GOT", "OK"), _rows(judged), whole=0)


def _report(watch: Watch, judged: "tuple[Judgement, ...]") -> str:
    """Write what was expected and what came, and the report of each incident."""
    from stopgap.report import markdown as md

    word = "passed" if watch.passed(judged) else "ended early" if watch.interrupted else "failed"
    name = md.code(watch.script.name)
    cells = [
        tuple(cell if i == len(row) - 1 else md.code(cell) for i, cell in enumerate(row))
        for row in _rows(judged)
    ]
    parts = [
        f"# Drill {name}{' in shadow' if watch.shadow else ''}: {word}",
        md.code(watch.script.proves),
        md.table(("Expected", "Wanted", "Got", "OK"), cells),
        *(
            watch.client.text(f"{INCIDENTS}/{quote(one['id'], safe='')}/report").rstrip()
            for one in watch.incidents
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _told(watch: Watch, judged: "tuple[Judgement, ...]") -> Mapping[str, Any]:
    return {
        "name": watch.script.name,
        "shadow": watch.shadow,
        "passed": watch.passed(judged),
        "interrupted": watch.interrupted,
        "started_at": watch.started_at.isoformat(),
        "expectations": [
            {
                "expected": one.expectation.text,
                "wanted": one.expectation.wanted,
                "got": one.got,
                "state": str(one.state),
                "after_seconds": None if one.after is None else one.after.total_seconds(),
            }
            for one in judged
        ],
        "incidents": watch.incidents,
    }
