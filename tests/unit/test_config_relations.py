"""What only all rules together show: whom a rule yields to, and which rules act on the same alerts."""

import pytest
from tests.catalog_fakes import CATALOG
from tests.rule_files import SITE, problems, read, warnings, write

from stopgap.config import load, relations
from stopgap.config.findings import Findings
from stopgap.config.node import Mark
from stopgap.config.relations import MOST_COMPARED, Place, Relations
from stopgap.errors import ConfigError
from stopgap.matcher import parse_matcher
from stopgap.rule import Rule, RungSpec

ENVIRON = {"CHAT": "json://chat"}


def rules(**bodies: str) -> str:
    """Write a file of rules by name: `match` and further keys of each."""
    lines = ["rules:"]
    for name, body in bodies.items():
        match, _, more = body.partition(" | ")
        lines += [f"  - name: {name}", f"    match: '{match}'", "    verify: [{http: 'http://x'}]"]
        lines += [f"    {each}" for each in more.split("; ") if each]
        lines += [] if "ladder" in more else ["    do: [{restart: 'systemd://x'}]"]
    return (
        "\n".join(lines).replace("    verify: [{http: 'http://x'}]\n    ladder: []", "    ladder: []") + "\n"
    )


# --- yield_to ---


def test_a_rule_yields_to_rules_of_its_pack_and_of_others(tmp_path):
    files = {
        "p/a.yaml": rules(
            one='alertname="A" | yield_to: [two, q/three]', two='alertname="B" | yield_to: q/three'
        ),
        "q/a.yaml": rules(three='alertname="C"'),
    }
    loaded = read(tmp_path, files)
    assert [one.yield_to for one in loaded.rules] == [("p/two", "q/three"), ("q/three",), ()]
    assert warnings(loaded) == []


def test_a_rule_may_yield_to_one_that_comes_later(tmp_path):
    files = {"p/a.yaml": rules(one='alertname="A" | yield_to: two'), "p/b.yaml": rules(two='alertname="B"')}
    assert read(tmp_path, files).rules[0].yield_to == ("p/two",)


@pytest.mark.parametrize(
    ("yields", "said"),
    [
        ("one", "p/a.yaml:5:15: rules[0].yield_to: a rule cannot yield to itself, remove it"),
        ("p/one", "a rule cannot yield to itself"),
        ("twoo", "no rule is called `p/twoo`, did you mean `two`?"),
        (
            "[two, p/towo]",
            "p/a.yaml:5:21: rules[0].yield_to[1]: no rule is called `p/towo`, did you mean `two`?",
        ),
        ("q/two", "no rule is called `q/two`, write the name of a rule of this pack, or pack/name"),
        ("''", "no rule is called `p/`"),
        ("'{{ labels.x }}'", "only vars can stand here"),
        ("{two: x}", "rules[0].yield_to: a table is not a list"),
        ("[5]", "rules[0].yield_to[0]: `5` is a number, not a text"),
    ],
)
def test_whom_a_rule_cannot_yield_to_is_said(tmp_path, yields, said):
    files = {"p/a.yaml": rules(one=f'alertname="A" | yield_to: {yields}', two='alertname="B"')}
    (found,) = problems(tmp_path, files)
    assert said in found


def test_a_rule_that_does_not_load_is_one_that_others_may_yield_to(tmp_path):
    files = {"p/a.yaml": rules(one='alertname="A" | yield_to: two', two='alertname="B" | hold: x')}
    (found,) = problems(tmp_path, files)
    assert "hold" in found


@pytest.mark.parametrize("part", ["p", "p/a.yaml"])
def test_of_a_part_of_the_rules_only_a_warning_can_be_said(tmp_path, part):
    files = {
        "p/pack.yaml": "name: p",
        "p/a.yaml": rules(one='alertname="A" | yield_to: q/two'),
        "q.yaml": rules(two='alertname="B"'),
    }
    loaded = load(write(tmp_path, files) / part, CATALOG, environ=ENVIRON)
    assert warnings(loaded) == ["`q/two` is not among the rules that were loaded"]
    assert load(tmp_path, CATALOG, environ=ENVIRON).warnings == ()


def test_one_file_of_a_pack_does_not_show_the_rules_of_the_others(tmp_path):
    files = {
        "p/pack.yaml": "name: p",
        "p/a.yaml": rules(one='alertname="A" | yield_to: two'),
        "p/b.yaml": rules(two='alertname="B"'),
    }
    assert warnings(load(write(tmp_path, files) / "p" / "a.yaml", CATALOG, environ=ENVIRON)) == [
        "`p/two` is not among the rules that were loaded"
    ]


@pytest.mark.parametrize("part", ["p", "a.yaml"])
def test_a_pack_that_is_loaded_alone_shows_all_its_own_rules(tmp_path, part):
    body = rules(one='alertname="A" | yield_to: two')
    write(tmp_path, {"p/pack.yaml": "name: p", "p/a.yaml": body, "a.yaml": body})
    with pytest.raises(ConfigError, match=r"no rule is called `[pa]/two`"):
        load(tmp_path / part, CATALOG, environ=ENVIRON)


def test_rules_that_wait_for_each_other_would_never_act(tmp_path):
    files = {
        "p/a.yaml": rules(
            a='alertname="A" | yield_to: [free, b]',
            b='alertname="B" | yield_to: c',
            c='alertname="C" | yield_to: a',
            d='alertname="D" | yield_to: c',
            free='alertname="E"',
        )
    }
    assert problems(tmp_path, files) == [
        "p/a.yaml:5:22: rules[0].yield_to[1]: these rules wait for each other: p/a → p/b → p/c → p/a, remove one yield_to"
    ]


def test_each_ring_of_rules_is_said(tmp_path):
    rings = {f"r{i}": f'alertname="{i}" | yield_to: r{i ^ 1}' for i in range(6)}
    found = problems(tmp_path, {"p/a.yaml": rules(**rings)})
    assert [each.partition("other: ")[2] for each in found] == [
        "p/r0 → p/r1 → p/r0, remove one yield_to",
        "p/r2 → p/r3 → p/r2, remove one yield_to",
        "p/r4 → p/r5 → p/r4, remove one yield_to",
    ]


def test_a_long_chain_of_rules_is_no_ring():
    chain = [Rule("p", f"r{i}", "", (), yield_to=(f"p/r{i - 1}",) if i else ()) for i in range(5000)]
    places = {one.id: Place(Mark("x"), (Mark("x"),) * len(one.yield_to)) for one in chain}
    findings = Findings()
    Relations({one.id: one for one in chain}, places, list(places), findings).judge()
    assert findings.errors == ()


def test_many_rings_are_said_in_part(tmp_path):
    rings = {f"r{i}": f'alertname="{i}" | yield_to: r{i ^ 1}' for i in range(100)}
    assert len(problems(tmp_path, {"p/a.yaml": rules(**rings)})) == 20


# --- rules that act on the same alerts ---


def overlaps(tmp_path, **bodies: str) -> list[str]:
    return warnings(read(tmp_path, {"p/a.yaml": rules(**bodies)}))


SAME = "`two` and `p/one` can act on the same alert (alertname='A')"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ('alertname="A"', 'alertname="A"'),
        ('alertname="A", job="x"', 'alertname="A"'),
        ('alertname="A", job="x"', 'alertname="A", env="y"'),
        ('alertname="A", job="x"', 'alertname="A", job=~"x|y"'),
        ('alertname="A", job=~"x|y"', 'alertname="A", job=~"x|y"'),
        ('alertname="A", job=~"x|y"', 'alertname="A", env=~"y|z"'),
        ('alertname="A", job=~"y|z", job="y"', 'alertname="A", job=~"x|y"'),
        ('alertname="A", job!="z"', 'alertname="A"'),
        ('alertname="A"', 'alertname=~"A"'),
        ('alertname=~"B|A"', 'alertname=~"A|C"'),
        ('alertname=~"(A|B)"', 'alertname="A", job="x"'),
    ],
)
def test_two_rules_that_act_on_the_same_alert_are_warned_of(tmp_path, one, two):
    loaded = read(tmp_path, {"p/a.yaml": rules(one=one, two=two)})
    (found,) = loaded.warnings
    assert (found.text, found.line, found.key) == (SAME, 6, "rules[1].name")
    assert found.hint == "add yield_to: [one], or a matcher that tells them apart"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ('alertname="A"', 'alertname="B"'),
        ('alertname="A"', 'alertname=~"B|C"'),
        ('alertname="A"', 'alertname=~"A.*"'),
        ('alertname=~"A|B"', 'alertname=~"A|C", alertname!="A"'),
        ('alertname="A"', 'job="x"'),
        ('alertname="A", job="x"', 'alertname="A", job="y"'),
        ('alertname="A", job="x"', 'alertname="A", job!="x"'),
        ('alertname="A", job="x"', 'alertname="A", job=~"y|z"'),
        ('alertname="A", job=~"x.*"', 'alertname="A", job=~"y.*"'),
        ('alertname="A", job="x"', 'alertname="A", env="e", job!~"x.*"'),
        ('alertname="A"', 'alertname="A" | mode: shadow'),
        ('alertname="A"', 'alertname="A" | ladder: []'),
        ('alertname="A"', 'alertname="A" | yield_to: one'),
        ('alertname="A" | yield_to: two', 'alertname="A"'),
    ],
)
def test_rules_that_stay_out_of_each_others_way_are_not(tmp_path, one, two):
    assert overlaps(tmp_path, one=one, two=two) == []


def test_a_chain_of_yields_connects_its_ends(tmp_path):
    chain = {
        "one": 'alertname="A" | yield_to: two',
        "two": 'alertname="A" | yield_to: three',
        "three": 'alertname="A"',
    }
    assert overlaps(tmp_path, **chain) == []
    star = {
        "one": 'alertname="A" | yield_to: three',
        "two": 'alertname="A" | yield_to: three',
        "three": 'alertname="A"',
    }
    assert overlaps(tmp_path / "star", **star) == [SAME]


def test_the_matchers_of_a_pack_count_and_its_rules_are_named_with_it(tmp_path):
    files = {
        "p/pack.yaml": 'name: p\nmatch: job="x"',
        "p/a.yaml": rules(one='alertname="A"'),
        "q/pack.yaml": 'name: q\nmatch: job="y"',
        "q/a.yaml": rules(two='alertname="A"'),
    }
    assert warnings(read(tmp_path, files)) == []
    loaded = read(tmp_path, {**files, "q/pack.yaml": 'name: q\nmatch: job="x"'})
    assert warnings(loaded) == [SAME]
    assert loaded.warnings[0].hint.startswith("add yield_to: [p/one],")


def test_a_rule_is_warned_of_once_however_many_it_meets(tmp_path):
    assert len(overlaps(tmp_path, **{f"r{i}": 'alertname="A"' for i in range(30)})) == 29


def test_rules_that_can_match_nothing_do_not_meet():
    def matched(*texts: str) -> Rule:
        return Rule("p", texts[-1], "", tuple(map(parse_matcher, texts)), ladder=(RungSpec("x", ()),))

    whole = matched('alertname="A"')
    dead = [matched('alertname="A"', 'job="x"', 'job="y"'), matched('alertname="A"', 'job="x"', 'job!="x"')]
    for each in dead:
        findings = Findings()
        both = {one.id: one for one in (whole, each)}
        Relations(both, {name: Place(Mark("x")) for name in both}, list(both), findings).judge()
        assert findings.warnings == ()


def test_thousands_of_rules_of_one_alert_are_compared_in_bounded_time(tmp_path, monkeypatch):
    compared = []
    real = relations._may_meet
    monkeypatch.setattr(relations, "_may_meet", lambda *a: compared.append(1) or real(*a))
    many = {f"r{i}": f'alertname="A", job="{i}"' for i in range(MOST_COMPARED + 50)}
    assert overlaps(tmp_path, **many) == []
    assert len(compared) == MOST_COMPARED * (MOST_COMPARED - 1) // 2 + 50 * MOST_COMPARED


def test_a_rule_that_does_not_load_says_nothing_of_others(tmp_path):
    files = {"site.yaml": SITE, "p/a.yaml": rules(one='alertname="A" | hold: x', two='alertname="A"')}
    assert len(problems(tmp_path, files)) == 1
