"""Escalations: the `escalate` of a rule, and what in it is wrong or odd only when it is read together."""

from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from stopgap.audience import DEFAULT
from stopgap.config.codes import Odd, Wrong
from stopgap.config.complaint import Teller
from stopgap.config.findings import did_you_mean
from stopgap.config.keys import Keys, Name, Texts, TimeLimit, listed
from stopgap.config.node import Path
from stopgap.duration import print_duration
from stopgap.escalation import ACKNOWLEDGED, ENDS, MITIGATED
from stopgap.incident import EventKind as K
from stopgap.rule import Escalation

OFTENEST = timedelta(minutes=1)
_WORDS = frozenset(event.value for event in K)
_EVENTS = [event.value for event in K if event is not K.NOTIFIED]
_WRITE = "write one of when: mitigated, after: 15m, every: 30m"


def _event(word: str) -> str:
    if word == K.NOTIFIED:
        raise ValueError(
            "`notified` says that somebody was told, and to tell that would never end: write another event"
        )
    if word not in _WORDS:
        near = did_you_mean(word, K, "write one such as mitigated, handed_over, mitigation_lost or closed")
        raise ValueError(f"`{word[:40]}` is no event: {near}")
    return word


def _not_hasty(every: timedelta) -> timedelta:
    if every < OFTENEST:
        least = print_duration(OFTENEST)
        raise ValueError(f"oftener than every {least}: write {least} or more")
    return every


class EscalationKeys(Keys):
    """Whom to tell, and when."""

    when: Annotated[
        Annotated[str, AfterValidator(_event), WithJsonSchema({"enum": _EVENTS})] | None,
        Field(description="The event of the timeline that is told, at once or `after` so long."),
    ] = None
    after: Annotated[
        TimeLimit | None,
        Field(description="Once, so long after the opening, or after the event that `when` names."),
    ] = None
    every: Annotated[
        Annotated[TimeLimit, AfterValidator(_not_hasty)] | None,
        Field(description="Again and again, so long from the opening on; at the oftenest each minute."),
    ] = None
    even_if: Annotated[
        tuple[Literal["mitigated", "acknowledged"], ...],
        BeforeValidator(listed),
        Field(description="For `after` and `every`: rings all the same while the incident is so."),
    ] = ()
    notify: Annotated[
        Texts, Field(min_length=1, description="Contacts of pack.yaml or site.yaml, by their names.")
    ]
    message: Annotated[
        Name | None,
        Field(
            description="One of `messages`; without it `declaration`, `update` or, in the end, `resolution`."
        ),
    ] = None

    @property
    def timed(self) -> bool:
        """Tell whether a clock decides when."""
        return self.after is not None or self.every is not None


def escalation_of(keys: EscalationKeys) -> Escalation:
    """Return an entry as the engine takes it; a bare `after` counts from the opening."""
    when = keys.when or (K.OPENED.value if keys.after is not None else "")
    return Escalation(when, keys.notify, keys.after, keys.every, frozenset(keys.even_if), keys.message or "")


def judge(
    entries: Collection[EscalationKeys],
    messages: Collection[str],
    tell: Teller,
    contact: Callable[[str, Path], None],
) -> None:
    """Tell what no single key of the entries shows; `contact` judges one name."""
    for i, entry in enumerate(entries):
        at: Path = ("escalate", i)
        for j, name in enumerate(entry.notify):
            contact(name, (*at, "notify", j))
        if entry.message is not None and entry.message not in messages:
            hint = did_you_mean(entry.message, messages, "add it to `messages` of pack.yaml or site.yaml")
            tell.error(
                (*at, "message"), f"no message is called `{entry.message}`", hint, code=Wrong.UNKNOWN_MESSAGE
            )
        for path, text, hint in _wrong(entry):
            tell.error((*at, *path), text, hint, code=Wrong.BAD_ESCALATION, at_key=bool(path))
        for path, text, hint in _odd(entry):
            tell.warning((*at, *path), text, hint, code=Odd.SILENT_CLOCK)
    _unheard(entries, tell)


def _wrong(entry: EscalationKeys) -> Iterator[tuple[Path, str, str]]:
    if entry.when is None and not entry.timed:
        yield (), "it does not say when", _WRITE
    if entry.every is not None and (entry.when is not None or entry.after is not None):
        other = "when" if entry.when is not None else "after"
        yield (other,), f"`{other}` beside `every`, which counts from the opening", "make an entry of each"
    if entry.even_if and not entry.timed:
        yield ("even_if",), "`even_if` is for `after` and `every`: an event is told at once", "remove it"
    if entry.message is not None and entry.when == K.APPROVAL_REQUESTED and not entry.timed:
        text = "a request for approval has its own text: its steps and its link must not be missing"
        yield ("message",), text, "remove it"
    if entry.after is not None and entry.when == K.CLOSED:
        yield ("after",), "no clock rings after `closed`", "remove it"


def _odd(entry: EscalationKeys) -> Iterator[tuple[Path, str, str]]:
    """Find clocks that stand still from their start."""
    for event, word in ((K.MITIGATED, MITIGATED), (K.ACKNOWLEDGED, ACKNOWLEDGED)):
        if entry.after is not None and entry.when == event and word not in entry.even_if:
            text = f"a clock stands still while the incident is {word}: this one rings only when that is over"
            if event is K.ACKNOWLEDGED:
                text = f"a clock stands still once the incident is {word}: this one never rings"
            yield ("after",), text, f"add even_if: {word}"


def _unheard(entries: Collection[EscalationKeys], tell: Teller) -> None:
    """Warn of contacts that could only ever hear the end of what they were not told."""
    others = {name for entry in entries if entry.timed or entry.when not in ENDS for name in entry.notify}
    for i, entry in enumerate(entries):
        for j, name in enumerate(entry.notify):
            if not entry.timed and entry.when in ENDS and name not in others | {DEFAULT}:
                text = f"`{name}` hears of the end only if it was told before, and nothing else tells it"
                hint = "add an entry such as when: opened"
                tell.warning(("escalate", i, "notify", j), text, hint, code=Odd.UNHEARD)
