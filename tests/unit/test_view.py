"""What an incident shows of itself."""

from datetime import datetime, timedelta, timezone

from tests.desk import CLOSED, HELD, NOW, OPEN, RULE, TIMELINES

from stopgap import view
from stopgap.incident import Event, EventKind as K
from stopgap.journal import Stored
from stopgap.transitions import fold


def test_instants_are_utc_with_a_z_wherever_they_come_from():
    east = timezone(timedelta(hours=5, minutes=30))
    assert view.instant(datetime(2026, 11, 21, 5, 29, 59, 999_999, tzinfo=east)) == "2026-11-20T23:59:59.999Z"
    assert view.instant(None) is None


def test_a_detail_cannot_pose_as_the_line_itself():
    shown = view.line(
        Event(K.REFUSED, NOW, {"seq": 99, "at": "then", "event": "closed", "reason": "brake"}, 7)
    )
    assert shown == {"seq": 7, "at": "2026-11-21T10:30:00.000Z", "event": "refused", "reason": "brake"}


def test_a_listing_and_a_single_view_have_the_same_fields():
    state = fold(HELD, TIMELINES[HELD])
    brief, full = view.brief(state, RULE), view.full(state, TIMELINES[HELD], RULE)
    assert full.items() >= brief.items()
    assert set(full) - set(brief) == {"alerts", "timeline"}


def test_a_lease_end_is_shown_only_where_it_is_known():
    state = fold(HELD, TIMELINES[HELD])
    assert view.brief(state)["lease_until"] is None
    assert view.brief(state, RULE)["lease_until"] == "2026-11-21T14:01:00.000Z"


def test_a_request_for_approval_is_shown_while_it_waits_and_its_answer_until_the_rung_begins():
    until = NOW + timedelta(minutes=10)
    asked = Event(K.APPROVAL_REQUESTED, NOW, {"rung": 0, "until": until.isoformat()}, 3)
    said = Event(K.APPROVED, NOW, {"request": 3, "by": "ann", "why": "go"}, 4)
    over = Event(K.ALERT_RESOLVED, NOW, {"fingerprint": "f1"}, 4)
    begun = Event(K.RUNG_STARTED, NOW, {"rung": 0}, 5)

    def shown(*more):
        return view.brief(fold(OPEN, (*TIMELINES[OPEN], *more)))["approval"]

    pending = {"request": 3, "rung": 0, "until": "2026-11-21T10:40:00.000Z", "answer": "pending"}
    assert shown() is None
    assert shown(asked) == {**pending, "by": None, "why": None}
    assert shown(asked, said) == {**pending, "answer": "approved", "by": "ann", "why": "go"}
    assert shown(asked, over) is None
    assert shown(asked, said, begun) is None


def test_a_stored_row_has_the_fields_of_a_live_one():
    row = Stored(CLOSED, "hotel/pms", "v1", "fly://old", "P0", "auto", NOW)
    assert set(view.stored(row)) == set(view.brief(fold(HELD, TIMELINES[HELD])))


def test_a_closed_incident_holds_nothing_unless_it_was_kept():
    kept = Event(K.CLOSED, NOW, {"outcome": "kept"}, 6)
    back = Event(K.CLOSED, NOW, {"outcome": "recovered"}, 6)
    assert view.brief(fold(HELD, (*TIMELINES[HELD], kept)))["held"] != []
    assert view.brief(fold(HELD, (*TIMELINES[HELD], back)))["held"] == []
    assert view.brief(fold(CLOSED, TIMELINES[CLOSED]))["outcome"] == "self_resolved"
