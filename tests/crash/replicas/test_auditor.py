"""The auditor of replicas finds what is wrong in forged records, and nothing in sound ones."""

from dataclasses import replace
from typing import Any

import pytest
from tests.crash.book import Copybook, Entry, Page
from tests.crash.replicas.auditor import (
    Deed,
    Evidence,
    Intent,
    Reign,
    Told,
    Written,
    audit,
    late,
    takeovers,
)

DO, BACK = "INC-1/0/0/do/1", "INC-1/0/0/revert/1"
SINCE, LATER = "2026-11-21T09:00:00.000001Z", "2026-11-21T09:05:00+00:00"


def act(role: str, **more: Any) -> dict[str, Any]:
    return {"rung": 0, "step": 0, "role": role, "n": 1, **more}


LINES = (
    ("opened", {"alerts": {"f1": {"labels": {"instance": "a"}, "starts_at": SINCE}}}),
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


def paged(lines: Any) -> tuple[Page, ...]:
    return tuple(Page("INC-1", i, i * 10, kind, detail) for i, (kind, detail) in enumerate(lines, 1))


SOUND = Evidence(
    book=Copybook(
        pages=paged(LINES),
        entries=(Entry("INC-1", "shop/x", "api", len(LINES), 100, "recovered"),),
        permits=("INC-1",),
        undo=frozenset({("INC-1", "0/0/do")}),
    ),
    deeds=(
        Deed(DO, "0", "level:x", "10", "50", at=45, began=44),
        Deed(BACK, "1", "level:x", "50", "10", at=85, began=84),
    ),
    undo={("INC-1", "0/0/do"): {"stdout": "10"}},
    reigns=(Reign(1, "0", 1), Reign(2, "1", 60, silent_since=50)),
    intents=(Intent(DO, 41), Intent(BACK, 81)),
    written=tuple(Written("INC-1", i, "0" if i < 6 else "1", 1 if i < 6 else 2) for i in range(1, 11)),
    said={"a": (Told(True, SINCE, 5), Told(False, SINCE, 55))},
)
ONE, TWO = SOUND.deeds


def forged(**changed: Any) -> set[str]:
    return {violation.promise for violation in audit(replace(SOUND, **changed))}


def heard(*more: tuple[str, dict[str, Any]]) -> Copybook:
    """Return the book with more lines before its end."""
    lines = (*LINES[:-1], *more, LINES[-1])
    entry = replace(SOUND.book.entries[0], seq=len(lines))
    return replace(SOUND.book, pages=paged(lines), entries=(entry,))


REFIRED = ("refired", {"fingerprint": "f1", "starts_at": SINCE})
OVER = ("alert_resolved", {"fingerprint": "f1"})


def test_sound_records_have_no_flaw():
    assert audit(SOUND) == []
    assert audit(Evidence()) == []
    assert takeovers(SOUND.reigns) == [pytest.approx(10e-6)]
    assert late(SOUND) == 0


@pytest.mark.parametrize(
    ("changed", "promise"),
    [
        ({"deeds": (ONE, replace(ONE, at=46, before="50"), TWO)}, "once"),
        ({"deeds": (ONE, replace(ONE, key="INC-1/0/0/do/2", at=46, before="50"), TWO)}, "again"),
        ({"deeds": (ONE, replace(ONE, key="INC-1/0/0/do/2", at=46, before="50"), TWO)}, "in turn"),
        ({"deeds": (replace(ONE, at=40), TWO)}, "intent"),
        ({"deeds": (replace(ONE, key="INC-9/0/0/do/1"), TWO)}, "intent"),
        ({"deeds": (replace(ONE, before="11"), TWO)}, "undo"),
        ({"undo": {}}, "undo"),
        ({"deeds": (ONE,)}, "done"),
        ({"deeds": (ONE,)}, "taken back"),
        ({"deeds": (ONE, replace(TWO, who="0"))}, "reign"),
        ({"deeds": (replace(ONE, at=65), TWO)}, "reign"),
        ({"reigns": ()}, "reign"),
        ({"deeds": (ONE, replace(TWO, before="49"))}, "unseen"),
        ({"written": (*SOUND.written[:-1], replace(SOUND.written[-1], who="0"))}, "fence"),
        ({"written": (*SOUND.written[:-1], replace(SOUND.written[-1], epoch=3))}, "fence"),
        ({"changed": ("x.env is b''",)}, "taken back"),
        ({"said": {"a": SOUND.said["a"] * 2}}, "acknowledged"),
        ({"said": {"a": (), "b": SOUND.said["a"]}}, "acknowledged"),
        ({"said": {"a": SOUND.said["a"][:1]}}, "unsaid"),
        ({"said": {"a": (Told(True, LATER, 5), Told(False, LATER, 55))}}, "acknowledged"),
        ({"book": heard(REFIRED), "doubts": {"a": 1}}, "acknowledged"),
        ({"book": heard(REFIRED, OVER)}, "unsaid"),
        ({"book": replace(SOUND.book, waiting=("{}",))}, "over"),
        ({"book": replace(SOUND.book, held=(("level:x", "INC-1"),))}, "held"),
    ],
)
def test_a_flaw_is_found(changed, promise):
    assert promise in forged(**changed)


def test_what_an_attempt_without_an_answer_brought_late_is_no_flaw():
    assert forged(book=heard(REFIRED, OVER), doubts={"a": 1}) == set()
    assert late(replace(SOUND, book=heard(REFIRED, OVER))) == 2


def test_a_firing_that_found_its_alert_firing_still_because_of_an_older_one_is_no_flaw():
    said = (*SOUND.said["a"], Told(True, LATER, 95), Told(False, LATER, 99))
    assert forged(said={"a": said}, book=heard(REFIRED, OVER)) == set()
    assert (
        forged(said={"a": said}, book=heard(("refired", {"fingerprint": "f1", "starts_at": LATER}), OVER))
        == set()
    )


def test_a_change_that_was_announced_counts_where_what_follows_shows_that_it_was_made():
    about = replace(ONE, phase="about", at=44)
    assert forged(deeds=(about, ONE, TWO)) == set()
    assert forged(deeds=(about, TWO)) == set()  # its doer died before it could say so
    assert "done" in forged(deeds=(about, replace(TWO, before="10", after="10")))
    last = replace(TWO, phase="about")
    assert forged(deeds=(ONE, last), left={"level:x": "10"}) == set()
    assert "taken back" in forged(deeds=(ONE, last), left={"level:x": "50"})


def test_a_second_number_is_sound_after_a_known_failure():
    failed = ("step_failed", act("do"))
    lines = (*LINES[:4], failed, ("step_started", act("do", key="INC-1/0/0/do/2", n=2)), *LINES[4:])
    book = replace(SOUND.book, pages=paged(lines), entries=(replace(SOUND.book.entries[0], seq=len(lines)),))
    deeds = (ONE, replace(ONE, key="INC-1/0/0/do/2", at=46, before="50"), TWO)
    assert "again" not in forged(book=book, deeds=deeds)
