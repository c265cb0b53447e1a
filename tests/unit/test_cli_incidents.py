"""What the command line says of incidents: what a person must see first in the table, and lines of a timeline."""

import pytest

from stopgap.cli.client import only
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


LONG = {"rule": "tinyshop/restart-checkout", "target": "checkout"}


def test_where_the_table_would_be_cut_incidents_have_the_short_names_that_commands_take(capsys):
    rows = [{**ROW, **LONG}, {**ROW, **LONG, "id": "INC-20261121-091503-aaaaaa", "target": "cart"}]
    _listing(rows)
    _, first, second = capsys.readouterr().out.splitlines()
    assert (first.split()[0], second.split()[0]) == ("7k3v9q", "aaaaaa")
    assert first.endswith("  tinyshop/restart-checkout  checkout")
    assert second.endswith("  cart")
    assert max(len(first), len(second)) <= 80
    assert only([row["id"] for row in rows], "7k3v9q") == ROW["id"]


def test_a_short_name_that_means_two_incidents_is_not_used(capsys):
    _listing([{**ROW, **LONG}, {**ROW, **LONG, "id": "INC-20261122-091503-7k3v9q"}])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ROW["id"],
        "INC-20261122-091503-7k3v9q",
    ]


def test_where_there_is_room_they_have_their_whole_names(capsys):
    _listing([ROW])
    assert capsys.readouterr().out.splitlines()[1].startswith(ROW["id"])


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
