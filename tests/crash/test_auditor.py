"""The auditor finds what is wrong in forged records, and nothing in sound ones."""

from dataclasses import replace
from typing import Any

import pytest
from tests.crash.auditor import Records, audit
from tests.crash.book import Copybook, Entry, Page
from tests.crash.effect import MISSING, Effect

DO, BACK = "INC-1/0/0/do/1", "INC-1/0/0/revert/1"


def pages(*lines: tuple[str, dict[str, Any]], incident: str = "INC-1", since: int = 0) -> tuple[Page, ...]:
    return tuple(Page(incident, i, since + i, kind, detail) for i, (kind, detail) in enumerate(lines, 1))


def act(role: str, **more: Any) -> dict[str, Any]:
    return {"rung": 0, "step": 0, "role": role, "n": 1, **more}


LINES = (
    ("opened", {"alerts": {"f1": {"labels": {"instance": "a"}}}}),
    ("permitted", {}),
    ("rung_started", {"rung": 0}),
    ("step_started", act("do", key=DO)),
    ("step_succeeded", act("do")),
    ("alert_resolved", {"fingerprint": "f1"}),
    ("revert_started", {}),
    ("step_started", act("revert", key=BACK)),
    ("step_reverted", act("revert", changed=True)),
    ("closed", {"outcome": "recovered"}),
)
EFFECTS = (
    Effect(1, 5, 1, DO, "level:x", "10", "50", intended=True, undo={"stdout": "10"}),
    Effect(2, 9, 1, BACK, "level:x", "50", "10", intended=True, undo={"stdout": "10"}),
)
BOOK = Copybook(
    pages=pages(*LINES),
    entries=(Entry("INC-1", "shop/x", "api", len(LINES), 10, "recovered"),),
    permits=("INC-1",),
    undo=frozenset({("INC-1", "0/0/do")}),
)
SOUND = Records(BOOK, EFFECTS, {"a": [True, True, False]})
KILLED = replace(  # right after the act, before its result
    SOUND,
    book=replace(
        BOOK,
        pages=BOOK.pages[:4],
        entries=(Entry("INC-1", "shop/x", "api", 4, None, ""),),
        held=(("target:api", "INC-1"),),
    ),
    effects=EFFECTS[:1],
    said={"a": [True]},
)


def found(records: Records, *, at_end: bool = True) -> set[str]:
    return {violation.promise for violation in audit(records, at_end=at_end)}


def book(**changed: Any) -> Records:
    return replace(SOUND, book=replace(BOOK, **changed))


def effect(number: int, **changed: Any) -> Records:
    effects = list(EFFECTS)
    effects[number] = replace(effects[number], **changed)
    return replace(SOUND, effects=tuple(effects))


def lines(*kept: int, **more: Any) -> Records:
    chosen = pages(*(LINES[i] for i in kept))
    last = Entry("INC-1", "shop/x", "api", len(chosen), more.pop("closed_at", 10), "recovered")
    return book(pages=chosen, entries=(last,), **more)


ALL = tuple(range(len(LINES)))


def test_in_sound_records_there_is_nothing_wrong():
    assert not found(SOUND)
    assert not found(KILLED, at_end=False)
    assert not found(Records(Copybook()))


@pytest.mark.parametrize("said", [[True, False, True], [True, False, True, False], []])
def test_what_was_acknowledged_is_in_the_journal_and_nothing_else(said):
    assert found(replace(SOUND, said={"a": said})) == {"acknowledged"}


def test_one_turn_may_be_in_the_journal_whose_sender_never_heard_of_it_but_not_in_the_end():
    unheard = replace(SOUND, said={"a": [True]})
    assert not found(unheard, at_end=False)
    assert found(unheard) == {"acknowledged"}
    assert found(replace(SOUND, said={"a": []}), at_end=False) == {"acknowledged"}


def test_an_alert_that_nobody_knows_of_was_not_acknowledged_in_vain():
    assert found(replace(SOUND, said={"a": [True, False], "b": [True]}), at_end=False) == {"acknowledged"}
    assert not found(replace(SOUND, said={"a": [True, False], "b": [False]}))  # the end of what never fired


def test_a_letter_that_waits_counts_as_taken_also_when_it_is_worked_off_already():
    letter = '{"alerts": [{"labels": {"instance": "a"}, "firing": true}]}'
    waiting = replace(book(waiting=(letter,)), said={"a": [True, False, True]})
    assert not found(waiting, at_end=False)
    assert found(waiting) == {"over"}
    assert not found(replace(book(waiting=(letter,)), said={"a": [True, False]}), at_end=False)
    assert found(replace(book(waiting=(letter,)), said={"a": [True, False, True, False]}), at_end=False)


def test_every_effect_has_an_intent_that_was_there_before_it():
    assert found(effect(0, intended=False)) == {"intent"}
    assert "intent" in found(lines(*(i for i in ALL if i != 3)))
    assert "intent" in found(effect(0, key=""))


def test_every_effect_has_an_undo_that_was_there_before_it_and_says_what_was_there():
    assert found(effect(0, undo=MISSING)) == {"undo"}
    assert found(book(undo=frozenset())) == {"undo"}
    assert found(effect(0, undo={"stdout": "50"})) == {"undo"}
    assert found(effect(1, after="11")) == {"undo"}
    assert not found(effect(0, undo=None))  # nothing can be observed of it
    assert not found(effect(0, before={"A": "1", "B": "2"}, undo={"A": "1"}))


def test_no_key_takes_effect_twice():
    twice = replace(SOUND, effects=(*EFFECTS, replace(EFFECTS[1], number=3)))
    assert found(twice) == {"once", "in turn"}
    kicks = tuple(replace(each, resource="kick:x", undo=None, key=DO) for each in EFFECTS)
    assert "once" in found(replace(SOUND, effects=kicks))


def test_nothing_is_changed_again_before_it_is_taken_back():
    other = replace(EFFECTS[0], number=3, key="INC-1/0/0/do/2")
    assert "in turn" in found(replace(SOUND, effects=(EFFECTS[0], other, EFFECTS[1])))


def test_what_the_journal_says_was_done_has_happened():
    assert found(replace(SOUND, effects=EFFECTS[:1])) == {"done", "taken back"}
    assert found(replace(SOUND, effects=())) == {"done"}


def test_a_timeline_has_no_gap_an_opening_and_one_end():
    holed = tuple(page for page in BOOK.pages if page.seq != 2)
    assert found(book(pages=holed)) == {"order"}
    assert "order" in found(book(pages=BOOK.pages[1:]))
    assert found(book(permits=())) == {"order"}
    assert found(book(permits=("INC-1", "INC-1"))) == {"order"}
    assert "order" in found(lines(*ALL[:-1]))  # the row says that it is closed
    assert found(lines(*(i for i in ALL if i != 3))) == {"order", "intent"}
    assert "order" in found(book(entries=()))


def test_a_rule_has_one_live_incident_on_a_target():
    def second(since: int, closed_at: int | None) -> Records:
        more = pages(("opened", {}), ("closed", {}), incident="INC-2", since=since)
        entry = Entry("INC-2", "shop/x", "api", 2, closed_at, "")
        return book(pages=(*BOOK.pages, *more), entries=(*BOOK.entries, entry))

    assert not found(second(20, 22))
    assert not found(second(5, 7))  # it waited in the queue
    assert found(second(-6_000_000, 7)) == {"single"}
    assert found(
        replace(KILLED, book=replace(KILLED.book, entries=KILLED.book.entries * 2)), at_end=False
    ) >= {"single"}


def test_nothing_is_held_by_who_is_closed():
    assert found(book(held=(("target:api", "INC-1"),))) == {"held", "over"}
    unbegun = replace(KILLED.book, pages=KILLED.book.pages[:1], permits=(), undo=frozenset())
    assert "held" in found(replace(KILLED, book=unbegun, effects=()), at_end=False)


def test_a_damaged_database_is_no_database():
    assert found(book(damage="row 3 missing from index")) == {"integrity"}


def test_in_the_end_nothing_is_live_and_the_outside_is_as_at_first():
    assert "over" in found(KILLED)
    assert found(replace(SOUND, changed=("app.env is 'MODE=mock'",))) == {"taken back"}
    assert not found(replace(KILLED, changed=("app.env is 'MODE=mock'",)), at_end=False)
