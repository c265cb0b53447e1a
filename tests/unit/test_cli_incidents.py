"""What the command line says of incidents: what a person must see first in the table, and lines of a timeline."""

import pytest

from stopgap.cli.incidents import _listing, in_words

ROW = {
    "id": "INC-20261121-091502-7k3v9q",
    "severity": "P0",
    "opened_at": "2026-11-21T09:15:02Z",
    "rule": "shop/mock-mode",
    "target": "shop",
    "phase": "waiting",
    "outcome": None,
    "reason": None,
    "drill": None,
    "approval": None,
    "by_hand": None,
    "handed_over": False,
}


@pytest.mark.parametrize(
    ("row", "stands"),
    [
        ({"reason": "cooldown"}, "cooldown"),
        ({"reason": "approval_denied", "handed_over": True}, "handed over"),
        ({"reason": "approval_pending", "approval": {"answer": "pending"}}, "needs approval"),
        ({"phase": "mitigating", "by_hand": "0/0/do"}, "needs a person"),
        ({"phase": "mitigated", "handed_over": True}, "handed over"),
        ({"phase": "closed", "outcome": "handed_over", "handed_over": True}, "closed (handed_over)"),
        ({"phase": "closed", "outcome": "self_resolved", "drill": "q3"}, "DRILL: self_resolved"),
        ({"phase": "recovering", "drill": "q3"}, "DRILL: recovering"),
    ],
)
def test_the_table_says_first_what_a_person_must_do(capsys, row, stands):
    _listing([{**ROW, **row}])
    head, line = capsys.readouterr().out.splitlines()
    assert line[head.index("STANDS") : head.index("RULE")].strip() == stands
    assert len(line) <= 80
    assert line[head.index("RULE") :].startswith("shop/mock")
    assert line.endswith("  shop")


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("2026-11-21T17:16:06.913765+00:00", "until 17:16:06Z"),
        ("2026-11-22T01:00:00+00:00", "until 2026-11-22 01:00:00Z"),
    ],
)
def test_a_line_says_until_when_as_people_read_it(until, said):
    line = {"at": "2026-11-21T17:01:06.913Z", "event": "refused", "reason": "cooldown", "until": until}
    assert in_words({**line, "by": "ann"}) == f"cooldown, {said}, by ann"
