"""What is odd about a ladder: rungs that are never reached, that prove nothing, that stand in the wrong order, that must wait."""

from datetime import timedelta

import pytest
from tests.lints import CAUSE, FLAG, HTTP, RESTART, found, of_rule, rule

from stopgap.action import Danger
from stopgap.config.lints import remarks
from stopgap.config.lints.subject import Subject
from stopgap.config.nature import Nature
from stopgap.rule import ProbeSpec, Rule, RungSpec, StepSpec


def ladder(*rungs: str) -> str:
    return "\n".join(["ladder:", *(f"  - {{{each}}}" for each in rungs)])


def rung(*, do: str = RESTART, verify: str = f"[{HTTP}]", more: str = "") -> str:
    return f"do: [{do}]" + (f", verify: {verify}" if verify else "") + (f", {more}" if more else "")


# --- unverified ---


def test_a_rung_that_nothing_verifies_is_odd(tmp_path):
    body = ladder(rung(more="name: a"), rung(verify="", more="name: b"))
    assert of_rule(tmp_path, body, "unverified") == [
        "6:9 rules[0].ladder[1]: nothing verifies what this rung does"
    ]


def test_below_such_a_rung_a_failed_step_alone_leads_on(tmp_path):
    body = ladder(rung(verify="", more="name: a"), rung(more="name: b"))
    (text,) = of_rule(tmp_path, body, "unverified")
    assert text.endswith("does: the next rung is tried only when a step of this one fails")
    body = ladder(rung(verify="", more="name: a, go_on: true"), rung(more="name: b"))
    (text,) = of_rule(tmp_path, body, "unverified")
    assert text.endswith("what this rung does")


@pytest.mark.parametrize("body", [f"do: [{RESTART}]\nverify: [{HTTP}]", "do: [{wait: 30s}]", "ladder: []"])
def test_a_rung_that_is_verified_or_changes_nothing_is_not(tmp_path, body):
    assert of_rule(tmp_path, body, "unverified") == []


# --- unreachable-rung ---

OPTIONAL = "{restart: 'systemd://x', optional: true}"


def test_a_rung_below_one_that_cannot_fail_is_never_reached(tmp_path):
    body = ladder(rung(do=OPTIONAL, verify=""), rung(), rung())
    (text,) = of_rule(tmp_path, body, "unreachable-rung")
    assert text.startswith("6:9 rules[0].ladder[1]: this rung is never reached")


@pytest.mark.parametrize(
    "first",
    [
        rung(do=RESTART, verify=""),
        rung(do=OPTIONAL),
        rung(do=OPTIONAL, verify="", more="go_on: true"),
        rung(do=OPTIONAL, verify="", more=f"only_if: [{HTTP}]"),
        rung(do=OPTIONAL, verify="", more="once: true"),
        rung(do=OPTIONAL, verify="", more=f"activate: [{RESTART}]"),
        rung(do=f"{OPTIONAL}, {RESTART}", verify=""),
    ],
)
def test_a_rung_below_one_that_may_fail_or_be_skipped_is_reached(tmp_path, first):
    assert of_rule(tmp_path, ladder(first, rung()), "unreachable-rung") == []


# --- repeated-rung ---


def test_two_rungs_of_one_name_are_odd(tmp_path):
    body = ladder(rung(more="name: a"), rung(more="name: b"), rung(more="name: a"))
    (text,) = of_rule(tmp_path, body, "repeated-rung")
    assert text.startswith("7:")
    assert "rules[0].ladder[2].name: a rung is called `a` already" in text


def test_a_name_that_another_rung_gets_by_its_place_counts_too(tmp_path):
    assert len(of_rule(tmp_path, ladder(rung(more="name: rung 2"), rung()), "repeated-rung")) == 1
    assert of_rule(tmp_path, ladder(rung(more="name: rung 1"), rung()), "repeated-rung") == []


# --- harsh-first ---

WIPE = "{wipe: 'systemd://x'}"


def test_what_destroys_stands_below_what_is_gentler(tmp_path):
    body = ladder(rung(more="name: a"), rung(do=WIPE, more="name: b, approval: 5m"), rung(more="name: c"))
    (text,) = of_rule(tmp_path, body, "harsh-first")
    assert text.startswith("6:9 rules[0].ladder[1]: what this rung does destroys")


@pytest.mark.parametrize(
    "rungs",
    [
        [rung(more="name: a"), rung(do=WIPE, more="name: b, approval: 5m")],
        [rung(do=WIPE, more=f"approval: 5m, only_if: [{HTTP}]"), rung()],
        [rung(do=WIPE, more="name: a, approval: 5m"), rung(do="{wait: 5s}", verify="")],
        [rung(do=WIPE, more="name: a, approval: 5m"), rung(do=WIPE, more="name: b, approval: 5m")],
        [rung(), rung(do=FLAG)],
    ],
)
def test_a_ladder_that_goes_from_gentle_to_harsh_is_well(tmp_path, rungs):
    assert of_rule(tmp_path, ladder(*rungs), "harsh-first") == []


def harsh(action: str, first: Nature, second: Nature) -> list[str]:
    step = StepSpec(action, {}, timedelta(seconds=5))
    verify = (ProbeSpec("http", {"url": "http://x"}),)
    rungs = (RungSpec("a", (step,), verify=verify), RungSpec("b", (step,), verify=verify))
    natures = {("ladder", 0, "do", 0): first, ("ladder", 1, "do", 0): second}
    said = remarks(Subject(Rule("p", "one", "", (), ladder=rungs), natures))
    return [each.text for each in said if each.code == "harsh-first"]


def test_what_can_be_neither_taken_back_nor_repeated_stands_below_what_can():
    final = Nature(Danger.BOUNDED, reverts=False, idempotent=False)
    gentle = Nature(Danger.BOUNDED, reverts=True, idempotent=False)
    (text,) = harsh("exec", final, gentle)
    assert text.startswith("what this rung does can be neither taken back nor repeated")
    assert harsh("exec", gentle, final) == harsh("exec", final, final) == []
    assert harsh("exec", Nature(Danger.BOUNDED, reverts=False, idempotent=True), gentle) == []
    assert harsh("restart", final, gentle) == []  # it is over by itself


# --- small-budget ---


def rungs(count: int) -> str:
    return ladder(*(rung(more=f"name: r{i}") for i in range(count)))


@pytest.mark.parametrize(
    ("guard", "line"), [("", 8), ("\nguard: {budget: 2/1h}", 7), ("\nguard: {budget_global: 1/1h}", 6)]
)
def test_the_rung_that_a_ladder_has_no_budget_for_waits(tmp_path, guard, line):
    (text,) = of_rule(tmp_path, rungs(4) + guard, "small-budget")
    assert text.startswith(f"{line}:9 rules[0].ladder[{line - 5}]: budget")


@pytest.mark.parametrize("more", ["", "\nguard: {budget: 4/1h}", "\nmode: shadow"])
def test_a_ladder_that_its_budget_covers_is_well(tmp_path, more):
    assert of_rule(tmp_path, rungs(4 if more else 3) + more, "small-budget") == []


def test_a_budget_of_nothing_never_acts(tmp_path):
    (text,) = of_rule(tmp_path, rungs(1) + "\nguard: {budget: 0/1h}", "never-acts")
    assert text == "6:21 rules[0].guard.budget: budget (0/1h) lets no rung start"
    assert of_rule(tmp_path / "told", "ladder: []\nguard: {budget: 0/1h}", "never-acts") == []


def test_a_budget_of_the_pack_is_said_of_the_ladder(tmp_path):
    files = {"p/pack.yaml": "name: p\ndefaults: {budget: 0/1h}", "p/a.yaml": rule(rungs(1))}
    (problem,) = found(tmp_path, files, "never-acts")
    assert (problem.path.rpartition("/")[2], problem.key) == ("a.yaml", "rules[0].ladder")


# --- contradictory-probes ---


def promql(*conditions: str) -> str:
    return ", ".join(f"{{promql: up, is: '{each}'}}" for each in conditions)


@pytest.mark.parametrize(
    "conditions",
    [
        ("== 1", "== 0"),
        ("> 5", "< 5"),
        (">= 5", "< 5"),
        ("> 1", "== 1"),
        ("!= 1", "== 1"),
        ("< -1.5", "> 1e3"),
        ('== "a"', '== "b"'),
        ('== "a"', '!= "a"'),
        ('== "a"', "== 1"),
        ("> 0", "> 1", "< 0"),
    ],
)
def test_probes_that_can_never_be_healthy_together_are_odd(tmp_path, conditions):
    body = f"only_if: [{promql(*conditions)}]\ndo: [{RESTART}]\nverify: [{HTTP}]"
    (text,) = of_rule(tmp_path, body, "contradictory-probes")
    assert f"only_if[{len(conditions) - 1}]" in text
    assert text.endswith("are never healthy together: this rung is always skipped")


@pytest.mark.parametrize(
    "conditions",
    [
        ("> 0", "< 5"),
        (">= 5", "<= 5"),
        ("!= 1", "!= 2"),
        ("> 1", "> 2"),
        ("< 1", "< 2"),
        ("!= 1", "> 1"),
        ('!= "a"', '!= "b"'),
        ('!= "a"', '== "b"'),
        ("== 1",),
        ("== 1", "odd"),
    ],
)
def test_probes_that_can_are_not(tmp_path, conditions):
    body = f"only_if: [{promql(*conditions)}]\ndo: [{RESTART}]\nverify: [{HTTP}]"
    assert of_rule(tmp_path, body, "contradictory-probes") == []


def test_two_answers_of_one_address_exclude_each_other(tmp_path):
    body = f"do: [{RESTART}]\nverify: [{{http: {{url: 'http://x', status: 200}}}}, {{http: {{url: 'http://x', status: 503}}}}]"
    (text,) = of_rule(tmp_path, body, "contradictory-probes")
    assert "verify[1].http.status" in text
    assert text.endswith("this rung can never be proven")
    other = body.replace("'http://x', status: 503", "'http://y', status: 503")
    assert of_rule(tmp_path / "other", other, "contradictory-probes") == []


def test_a_recovery_that_can_never_be_proven_is_said(tmp_path):
    body = f"do: [{FLAG}]\nverify: [{HTTP}]\nrecovered: [{promql('== 1', '== 0')}, {CAUSE}]"
    (text,) = of_rule(tmp_path, body, "contradictory-probes")
    assert text.endswith("nothing is ever taken back by itself")


# --- stale-query ---


def verify(query: str, more: str) -> str:
    return f"do: [{RESTART}]\nverify:\n  - {{promql: '{query}', is: '== 1'{more}}}"


@pytest.mark.parametrize(
    ("query", "more", "said"),
    [
        (
            "rate(x[5m])",
            ", after: 5m, within: 9m",
            "6:52 rules[0].verify[0].after: it is asked 5m after the step",
        ),
        ("rate(x[5m])", "", "6:9 rules[0].verify[0]: it is asked 30s after the step, and looks back 5m"),
        ("max(up)", ", after: 0", "it is asked at once"),
    ],
)
def test_a_query_that_looks_back_at_what_was_before_the_step_is_odd(tmp_path, query, more, said):
    (text,) = of_rule(tmp_path, verify(query, more), "stale-query")
    assert said in text


@pytest.mark.parametrize(
    ("query", "more"), [("rate(x[5m])", ", after: 6m, within: 9m"), ("max(up)", ""), ("rate(x[20s])", "")]
)
def test_a_query_that_is_asked_late_enough_is_not(tmp_path, query, more):
    assert of_rule(tmp_path, verify(query, more), "stale-query") == []


def test_a_range_in_a_var_counts(tmp_path):
    files = {
        "p/pack.yaml": "name: p\nvars: {q: 'sum(rate(x[10m]))'}",
        "p/a.yaml": rule(verify("{{ vars.q }} + {{ labels.x }}", "")),
    }
    (problem,) = found(tmp_path, files, "stale-query")
    assert problem.hint.startswith("write after: 11m or so")
