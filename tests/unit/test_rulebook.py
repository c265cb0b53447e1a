"""What a reload changes: rules by their ids, in which keys, and what no rule shows."""

import pytest
from pydantic import SecretStr
from tests.rule_files import read, rule

from stopgap.rule import AtOnce
from stopgap.rulebook import MOST_NAMED, Changes, changes_of

ONE = rule("do: [{restart: systemd://api}]")
PACK = "name: shop\n"


def book(root, rules=ONE, pack=PACK, **more):
    root.mkdir()
    return read(root, {"shop/pack.yaml": pack, "shop/a.yaml": rules}, **more).rulebook


@pytest.fixture
def compare(tmp_path):
    numbers = iter(range(10))

    def compared(old: dict, new: dict, **beside: bool) -> Changes:
        before, after = (book(tmp_path / str(next(numbers)), **each) for each in (old, new))
        return changes_of(before, after, beside)

    return compared


def test_a_reload_of_the_same_files_changes_nothing_and_says_so(compare):
    same = compare({}, {}, contacts=False)
    assert same == Changes()
    assert str(same) == "nothing changed"
    assert same.told() == {
        "summary": "nothing changed",
        "added": [],
        "removed": [],
        "changed": [],
        "counts": {"added": 0, "removed": 0, "changed": 0},
        "keys": [],
        "beside": [],
    }


def test_a_comment_or_a_blank_changes_nothing(compare):
    assert compare({}, {"rules": f"# of the shop\n{ONE}\n\n"}) == Changes()


def test_rules_that_come_go_and_change_are_named(compare):
    two = ONE + "  - {name: two, match: a=b, ladder: []}\n"
    three = rule("do: [{restart: systemd://web}]") + "  - {name: three, match: a=b, ladder: []}\n"
    found = compare({"rules": two}, {"rules": three})
    assert (found.added, found.removed, found.changed) == (("shop/three",), ("shop/two",), ("shop/one",))
    assert found.keys == ("ladder",)
    assert str(found) == "1 rule added; 1 rule removed; 1 rule changed (ladder)"


def test_a_renamed_rule_is_one_that_went_and_one_that_came(compare):
    found = compare({}, {"rules": ONE.replace("one", "uno")})
    assert (found.added, found.removed, found.changed) == (("shop/uno",), ("shop/one",), ())


def test_a_default_that_rules_have_changes_these_rules_in_that_key(compare):
    found = compare({}, {"pack": PACK + "defaults: {hold: 9m, cooldown: 1h}\n"})
    assert found.changed == ("shop/one",)
    assert found.keys == ("guard", "hold")


def test_a_var_changes_the_rules_that_use_it_and_no_others(compare):
    rules = rule('do: [{restart: "systemd://{{ vars.unit }}"}]') + "  - {name: two, match: a=b, ladder: []}\n"
    old, new = (PACK + f"vars: {{unit: {name}}}\n" for name in ("api", "web"))
    found = compare({"rules": rules, "pack": old}, {"rules": rules, "pack": new})
    assert found.changed == ("shop/one",)
    assert found.keys == ("vars",)
    assert compare({"pack": old}, {"pack": new}) == Changes()


def test_a_secret_that_has_another_value_is_told_by_its_kind_and_never_shown(compare):
    pack = PACK + "secrets: [key]\n"
    old, new = (
        {"pack": pack, "environ": {"CHAT": "json://x", "STOPGAP_SECRET_KEY": v}} for v in ("old", "new")
    )
    found = compare(old, new)
    assert found == Changes(beside=("secrets",))
    assert str(found) == "secrets changed"
    assert compare(old, old) == Changes()
    assert SecretStr("old") == SecretStr("old")  # else every reload would tell of them


def test_what_is_beside_the_rules_is_told_too(compare, tmp_path):
    found = compare({}, {}, contacts=True)
    assert str(found) == "contacts changed"
    from dataclasses import replace

    one = book(tmp_path / "x")
    assert changes_of(one, replace(one, at_once=AtOnce(1, 2)), {}) == Changes(beside=("at_once",))
    both = Changes(added=("a/b", "a/c"), beside=("at_once", "contacts"))
    assert str(both) == "2 rules added; at_once, contacts changed"


def test_of_very_many_rules_some_are_named_and_all_are_counted():
    told = Changes(added=tuple(f"a/{i}" for i in range(1000))).told()
    assert len(told["added"]) == MOST_NAMED
    assert told["counts"]["added"] == 1000
