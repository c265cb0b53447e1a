"""The keys of a rung that say when it may be climbed: preconditions, approvals, going on, once."""

from datetime import timedelta

import pytest
from tests.catalog_fakes import CATALOG
from tests.rule_files import SITE, problems, read, rule, warnings

from stopgap.config import build_rule
from stopgap.rule import Mode, Rule, RungSpec

MINUTE = timedelta(minutes=1)
RUNG = "name: x, do: [{restart: 'systemd://x'}]"
WIPE = "name: x, do: [{wipe: 'systemd://x'}]"
LAST = "{do: [{wait: 1s}]}"


def built(tmp_path, body: str, site: str = "") -> Rule:
    files = {
        "site.yaml": SITE + site,
        "p/pack.yaml": "name: p\nvars: {term: 7m, on: 'true'}",
        "p/a.yaml": rule(body),
    }
    (one,) = read(tmp_path, files).rules
    assert build_rule(one.document, CATALOG) == one
    return one


def rung(tmp_path, keys: str, site: str = "") -> RungSpec:
    """Return the first of two rungs."""
    return built(tmp_path, f"ladder: [{{{keys}}}, {LAST}]", site).ladder[0]


def test_without_a_word_nobody_is_asked_and_nothing_is_checked_first(tmp_path):
    one = rung(tmp_path, RUNG)
    assert (one.only_if, one.approval, one.go_on, one.once) == ((), None, False, False)


# --- only_if ---


def test_preconditions_are_probes(tmp_path):
    one = rung(tmp_path, f"{RUNG}, only_if: [{{http: 'http://x', timeout: 2s}}, {{promql: up, is: '== 1'}}]")
    assert [(each.probe, each.timeout) for each in one.only_if] == [
        ("http", timedelta(seconds=2)),
        ("promql", timedelta(seconds=5)),
    ]
    assert one.only_if[0].params == {"url": "http://x"}


@pytest.mark.parametrize(
    ("only_if", "said"),
    [
        ("[{htp: 'http://x'}]", "ladder[0].only_if[0].htp: no probe is called `htp`, did you mean `http`?"),
        (
            "[{http: 'http://x', within: 5s}]",
            "ladder[0].only_if[0].within: `within` is for `verify` only, remove it",
        ),
        ("[{http: {url: 'http://x', statu: 200}}]", "ladder[0].only_if[0].http.statu: unknown key `statu`"),
        ("[{http: 'http://{{ vars.nope }}'}]", "ladder[0].only_if[0].http: no var is called `nope`"),
        ("[{http: 'http://{{ secrets.nope }}'}]", "no secret is called `nope`"),
        ("{http: 'http://x'}", "ladder[0].only_if: a table is not a list"),
        ("x", "ladder[0].only_if: `x` is not a list"),
    ],
)
def test_what_is_wrong_with_a_precondition_is_said(tmp_path, only_if, said):
    found = problems(tmp_path, {"p/a.yaml": rule(f"ladder: [{{{RUNG}, only_if: {only_if}}}]")})
    assert len(found) == 1
    assert said in found[0]


# --- approvals ---


@pytest.mark.parametrize(
    ("approval", "found"),
    [
        ("true", 15 * MINUTE),
        ("{}", 15 * MINUTE),
        ("10m", 10 * MINUTE),
        ("{timeout: 10m}", 10 * MINUTE),
        ("'{{ vars.term }}'", 7 * MINUTE),
        ("'{{ vars.on }}'", 15 * MINUTE),
        ("false", None),
    ],
)
def test_an_approval_says_how_long_a_person_has(tmp_path, approval, found):
    assert rung(tmp_path, f"{RUNG}, approval: {approval}").approval == found


def test_an_approval_without_a_term_has_that_of_the_defaults(tmp_path):
    assert rung(tmp_path, f"{RUNG}, approval: true", "defaults: {approval: 1h}").approval == 60 * MINUTE
    assert rung(tmp_path, f"{RUNG}, approval: 5m", "defaults: {approval: 1h}").approval == 5 * MINUTE
    assert rung(tmp_path, RUNG, "defaults: {approval: 1h}").approval is None


def test_an_approval_in_a_rule_that_asks_before_every_rung_is_fine(tmp_path):
    one = built(tmp_path, f"mode: approve\nladder: [{{{RUNG}, approval: 5m}}]")
    assert (one.mode, one.ladder[0].approval) == (Mode.APPROVE, 5 * MINUTE)


@pytest.mark.parametrize(
    ("approval", "said"),
    [
        ("", "ladder[0].approval: nothing stands here, write true, or how long a person has, such as 10m"),
        ("0", "ladder[0].approval: no time at all, write 5s, 30s or the like"),
        ("1", "ladder[0].approval: 1 is not a duration"),
        ("soon", "ladder[0].approval: 'soon' is not a duration"),
        ("{timeuot: 5m}", "ladder[0].approval.timeuot: unknown key `timeuot`, did you mean `timeout`?"),
        ("{timeout: 0}", "ladder[0].approval.timeout: no time at all"),
        ("[5m]", "ladder[0].approval: ['5m'] is not a duration"),
        ("'{{ labels.x }}'", "ladder[0].approval: only vars can stand here"),
    ],
)
def test_what_is_wrong_with_an_approval_is_said(tmp_path, approval, said):
    found = problems(tmp_path, {"p/a.yaml": rule(f"ladder: [{{{RUNG}, approval: {approval}}}]")})
    assert len(found) == 1
    assert said in found[0]


# --- destructive actions ---


@pytest.mark.parametrize("approval", ["", ", approval: false", ", approval: 'false'"])
@pytest.mark.parametrize("mode", ["auto", "approve", "shadow"])
def test_what_destroys_does_not_load_without_an_approval(tmp_path, mode, approval):
    (found,) = problems(tmp_path, {"p/a.yaml": rule(f"mode: {mode}\nladder: [{{{WIPE}{approval}}}]")})
    assert found.endswith("`wipe` is destructive and needs an approval, add approval: 15m to its rung")
    assert "ladder[0].do[0].wipe" in found


def test_what_destroys_by_activation_needs_an_approval_too(tmp_path):
    body = rule(f"ladder: [{{{RUNG}, activate: [{{wipe: 'systemd://x'}}]}}]")
    (found,) = problems(tmp_path, {"p/a.yaml": body})
    assert "ladder[0].activate[0].wipe: `wipe` is destructive" in found


def test_what_destroys_is_told_of_beside_other_mistakes(tmp_path):
    found = problems(tmp_path, {"p/a.yaml": rule(f"hold: x\nladder: [{{{WIPE}}}]")})
    assert len(found) == 2


def test_what_destroys_runs_once_unless_somebody_says_otherwise(tmp_path):
    assert rung(tmp_path, f"{WIPE}, approval: 5m").once is True
    assert rung(tmp_path, f"{WIPE}, approval: 5m, once: false").once is False
    assert rung(tmp_path, f"{RUNG}, activate: [{{wipe: 'systemd://x'}}], approval: 5m").once is True
    assert rung(tmp_path, f"{RUNG}, once: true").once is True
    assert rung(tmp_path, f"{RUNG}, once: '{{{{ vars.on }}}}'").once is True


# --- go_on ---


def test_a_rung_may_go_on_when_another_comes_after_it(tmp_path):
    assert rung(tmp_path, f"{RUNG}, go_on: true").go_on is True


@pytest.mark.parametrize(
    "body", [f"ladder: [{{{RUNG}}}, {{{RUNG}, go_on: true}}]", "do: [{wait: 1s}]\ngo_on: true"]
)
def test_the_last_rung_cannot_go_on(tmp_path, body):
    (found,) = problems(tmp_path, {"p/a.yaml": rule(body)})
    assert found.endswith("go_on: nothing comes after it, remove it, or add a rung below")
    assert built(tmp_path / "off", body.replace("go_on: true", "go_on: false")).ladder[-1].go_on is False


# --- where they stand ---


def test_the_short_form_of_a_rule_has_them_too(tmp_path):
    body = "do: [{wipe: 'systemd://x'}]\nonly_if: [{http: 'http://x'}]\napproval: 3m\nonce: false"
    (one,) = built(tmp_path, body, "defaults: {approval: 1h}").ladder
    assert (len(one.only_if), one.approval, one.once) == (1, 3 * MINUTE, False)


@pytest.mark.parametrize(
    "key", ["only_if: [{http: 'http://x'}]", "approval: 10m", "go_on: true", "once: true"]
)
def test_beside_a_ladder_they_belong_into_a_rung(tmp_path, key):
    (found,) = problems(tmp_path, {"p/a.yaml": rule(f"ladder: [{{{RUNG}}}]\n{key}")})
    assert found.endswith(f"`{key.partition(':')[0]}` beside `ladder`, move it into a rung")


@pytest.mark.parametrize("key", ["only_if: []", "approval: 10m", "go_on: true", "once: true"])
def test_at_a_step_they_belong_beside_its_do(tmp_path, key):
    name = key.partition(":")[0]
    (found,) = problems(tmp_path, {"p/a.yaml": rule(f"do: [{{wait: 1s, {key}}}]")})
    assert found.endswith(f"`{name}` does not stand here, it is for the whole rung: write it beside `do`")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("go_on: perhaps", "`perhaps` is not true or false"),
        ("once: [x]", "a list is not true or false"),
        ("only_fi: []", "did you mean `only_if`?"),
    ],
)
def test_what_is_wrong_with_the_rest_is_said(tmp_path, key, said):
    found = problems(tmp_path, {"p/a.yaml": rule(f"ladder: [{{{RUNG}, {key}}}, {LAST}]")})
    assert len(found) == 1
    assert said in found[0]


def test_a_ladder_with_all_of_them_is_no_reason_to_warn(tmp_path):
    body = f"ladder: [{{{RUNG}, only_if: [{{http: 'http://x'}}], approval: true, once: true, verify: [{{http: 'http://y'}}]}}]"
    assert warnings(read(tmp_path, {"p/a.yaml": rule(body)})) == []
