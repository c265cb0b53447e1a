"""The guards of a rule, and the defaults of its pack and site: what is taken, what is merged, what is refused."""

from datetime import timedelta
from fractions import Fraction

import pytest
from tests.catalog_fakes import CATALOG
from tests.rule_files import SITE, SMALLEST, problems, read, rule, warnings

from stopgap.config import build_rule
from stopgap.rate import Rate
from stopgap.rule import AtOnce, BlastRadius, Circuit, Limits, Mode, Windows
from stopgap.storm import StormLimit
from stopgap.window import parse_window

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SHARE = Fraction(3, 10)
DO = "do: [{restart: 'systemd://x'}]\n"
FRIDAY, OFFICE = "Fri 16:00-24:00 Europe/Madrid", "Mon-Fri 08:00-18:00"


def limits(tmp_path, guard: str, *, site: str = "", pack: str = "", more: str = "") -> Limits:
    """Return the limits of a rule with a guard, under `defaults` of a site and of a pack."""
    files = {
        "site.yaml": f"{SITE}vars: {{n: '2', share: 30%, q: count(up), x: db}}\ndefaults: {{{site}}}\n",
        "p/pack.yaml": f"name: p\ndefaults: {{{pack}}}\n",
        "p/a.yaml": rule(f"{DO}guard: {{{guard}}}\n{more}"),
    }
    (one,) = read(tmp_path, files).rules
    assert build_rule(one.document, CATALOG) == one
    return one.limits


def test_without_a_word_about_guards_all_are_on_by_default(tmp_path):
    assert limits(tmp_path, "") == Limits()
    (one,) = read(tmp_path / "other", {"p/a.yaml": SMALLEST}).rules
    assert one.limits == Limits()


@pytest.mark.parametrize(
    ("guard", "found"),
    [
        ("cooldown: 1h", Limits(cooldown=HOUR)),
        ("budget: 5/2h", Limits(budget=Rate(5, 2 * HOUR))),
        ("budget: 0/1h", Limits(budget=Rate(0, HOUR))),
        ("budget_global: 40/30m", Limits(budget_global=Rate(40, 30 * MINUTE))),
        ("circuit: 3/12h", Limits(circuit=Circuit(Rate(3, 12 * HOUR)))),
        ("circuit: {failures: 3/12h, lasts: 1h}", Limits(circuit=Circuit(Rate(3, 12 * HOUR), HOUR))),
        ("circuit: {lasts: 1h}", Limits(circuit=Circuit(lasts=HOUR))),
        ("storm: 10/5m", Limits(storm=StormLimit(10, 5 * MINUTE, 5, 10 * MINUTE))),
        ("storm: 31/1m", Limits(storm=StormLimit(31, MINUTE, 15, 10 * MINUTE))),
        ("storm: 1/1m", Limits(storm=StormLimit(1, MINUTE, 1, 10 * MINUTE))),
        ("storm: {targets: 4/1m}", Limits(storm=StormLimit(4, MINUTE, 2, 10 * MINUTE))),
        ("storm: {targets: 4/1m, below: 4, calm: 1h}", Limits(storm=StormLimit(4, MINUTE, 4, HOUR))),
        ("storm: {below: '{{ vars.n }}'}", Limits(storm=StormLimit(below=2))),
        (f"windows: {{deny: {FRIDAY}}}", Limits(windows=Windows((), (parse_window(FRIDAY),)))),
        (f"windows: {{allow: [{OFFICE}, {FRIDAY}]}}", Limits(windows=Windows((parse_window(OFFICE), parse_window(FRIDAY))))),
        ("blast_radius: {total: 10, max: 3}", Limits(blast_radius=BlastRadius(10, 3))),
        ("blast_radius: {total: '10', max: '3'}", Limits(blast_radius=BlastRadius(10, 3))),
        ("blast_radius: {total: count(up), max: 12.5%}", Limits(blast_radius=BlastRadius("count(up)", Fraction(1, 8)))),
        ("blast_radius: {total: '{{ vars.q }}', max: '{{ vars.share }}'}", Limits(blast_radius=BlastRadius("count(up)", SHARE))),
        ("blast_radius: {total: 10, max: '{{ vars.n }}'}", Limits(blast_radius=BlastRadius(10, 2))),
        ("protected: '*-prod'", Limits(protected=("*-prod",))),
        ("protected: ['db-*', '{{ vars.x }}', 'db-*']", Limits(protected=("db-*", "db"))),
        ("protected: []", Limits()),
    ],
)  # fmt: skip
def test_a_guard_is_taken_as_it_is_written(tmp_path, guard, found):
    assert limits(tmp_path, guard) == found


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ("cooldown: ", "guard.cooldown: nothing stands here, write a number with a unit, such as 30s"),
        ("cooldown: long", "guard.cooldown: 'long' is not a duration"),
        ("budget: 3", "guard.budget: '3' is no rate, write a count and a duration, such as 3/1h"),
        ("budget: ", "guard.budget: nothing stands here, write a count and a duration, such as 3/1h"),
        ("budget: 3/60", "guard.budget: '60' is not a duration"),
        ("budget_global: 3/0", "guard.budget_global: '3/0' has a window of no length"),
        ("budgt: 3/1h", "unknown key `budgt`, did you mean `budget`?"),
        ("circuit: 0/1h", "guard.circuit: `0/1h` counts to nothing, write 1 or more"),
        ("circuit: {failures: 0/1h}", "guard.circuit.failures: `0/1h` counts to nothing"),
        ("circuit: {lasts: 0}", "guard.circuit.lasts: no time at all"),
        ("circuit: {failure: 2/6h}", "guard.circuit.failure: unknown key `failure`, did you mean `failures`?"),
        ("circuit: [2/6h]", "guard.circuit: \"['2/6h']\" is no rate"),
        ("storm: 0/5m", "`0/5m` counts to nothing"),
        ("storm: {below: 0}", "guard.storm.below: `0` should be greater than or equal to 1"),
        ("storm: {below: 2.5}", "guard.storm.below: `2.5` is not a whole number"),
        ("storm: {below: true}", "guard.storm.below: `true` is not a whole number"),
        ("storm: {below: few}", "guard.storm.below: `few` is not a whole number"),
        ("storm: {targets: 4/5m, below: 5}", "`below: 5` is more than the 4 targets that make a storm, write 2 or so"),
        ("storm: {below: 11}", "guard.storm.below: `below: 11` is more than the 10 targets"),
        ("storm: {calm: 0}", "guard.storm.calm: no time at all"),
        (f"windows: {FRIDAY}", f"guard.windows: `{FRIDAY}` is not a table, write key: value"),
        ("windows: {denied: x}", "unknown key `denied`, did you mean `deny`?"),
        ("windows: {deny: Friday}", "guard.windows.deny: 'Friday' is no window, write it like"),
        (f"windows: {{deny: [{FRIDAY}, 5]}}", "guard.windows.deny[1]: '5' is no window"),
        ("windows: {allow: 16:00-24:00 Europe/Madird}", "guard.windows.allow: 'Europe/Madird' is no time zone"),
        ("windows: {deny: }", "guard.windows.deny: nothing is not a list"),
        ("blast_radius: ", "guard.blast_radius: nothing stands here, write {total: …, max: 30%}"),
        ("blast_radius: 30%", "guard.blast_radius: `30%` is not a table"),
        ("blast_radius: {max: 30%}", "guard.blast_radius: `total` is missing, write {total: …, max: 30%}"),
        ("blast_radius: {total: 10}", "guard.blast_radius: `max` is missing"),
        ("blast_radius: {total: 10, max: 100%}", "guard.blast_radius.max: a limit of 100 % is none, write a share"),
        ("blast_radius: {total: 10, max: 999%}", "a limit of 100 % is none"),
        ("blast_radius: {total: 10, max: 10}", "guard.blast_radius.max: 10 of 10: a limit of 100 % is none, write fewer"),
        ("blast_radius: {total: 10, max: 0%}", "`0%` lets nothing be done"),
        ("blast_radius: {total: 10, max: 0}", "`0` lets nothing be done, write 1 or more"),
        ("blast_radius: {total: 10, max: 0.3}", "`0.3` is neither a count nor a share, write 2 or 30%"),
        ("blast_radius: {total: 10, max: -1}", "`-1` is neither a count nor a share"),
        ("blast_radius: {total: 10, max: true}", "is neither a count nor a share"),
        ("blast_radius: {total: 10, max: }", "guard.blast_radius: `max` is missing"),
        ("blast_radius: {total: 10, max: 30 percent}", "`30 percent` is neither a count nor a share"),
        ("blast_radius: {total: 0, max: 1}", "guard.blast_radius.total: `0` is a population of none"),
        ("blast_radius: {total: 2.5, max: 1}", "guard.blast_radius.total: `2.5` is neither a whole number nor a query"),
        ("blast_radius: {total: true, max: 1}", "is neither a whole number nor a query"),
        ("blast_radius: {total: ' ', max: 1}", "is neither a whole number nor a query"),
        ("blast_radius: {total: [x], max: 1}", "is neither a whole number nor a query"),
        ("blast_radius: {total: 'up{job=\"{{ labels.job }}\"}', max: 1}", "guard.blast_radius.total: only vars can stand here"),
        ("blast_radius: {total: 10, max: '{{ labels.n }}'}", "guard.blast_radius.max: only vars can stand here"),
        ("protected: '{{ labels.x }}'", "guard.protected: only vars can stand here"),
        ("protected: ['']", "guard.protected[0]: nothing stands here"),
        ("protected: [5]", "guard.protected[0]: `5` is a number, not a text, put it in quotes"),
        ("protected: {x: y}", "guard.protected: a table is not a list"),
        ("hold: 5m", "guard.hold: `hold` does not stand here, write it beside `guard`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_guard_is_said(tmp_path, guard, said):
    found = problems(tmp_path, {"p/a.yaml": rule(f"{DO}guard: {{{guard}}}")})
    assert len(found) == 1
    assert found[0].startswith("p/a.yaml:5:")
    assert said in found[0]


def test_a_guard_in_the_wrong_place_is_told_the_right_one(tmp_path):
    files = {
        "p/a.yaml": rule(f"{DO}budget: 3/1h"),
        "q/pack.yaml": "name: q\ncooldown: 1h",
        "r.yaml": rule("ladder: [{do: [{wait: 1s}], storm: 9/5m, hold: 1m}]"),
    }
    assert [each.partition(" ")[2].partition(": ")[2] for each in problems(tmp_path, files)] == [
        "`budget` does not stand here, write it under `guard`",
        "`cooldown` does not stand here, write it under `defaults`",
        "`storm` does not stand here, write it under `guard` of the rule",
        "`hold` does not stand here, it is for the whole rule: write it beside `ladder`",
    ]


# --- odd guards ---


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ("cooldown: 0", "a cooldown of 0 is none: the rule acts again as soon as its alert fires again"),
        ("budget: 1001/1h", "`1001/1h`: a limit that high is none"),
        ("budget: 20/1m", "`20/1m`: a limit that high is none"),
        ("budget_global: 999999/1d", "`999999/1d`: a limit that high is none"),
        ("blast_radius: {total: 3, max: 30%}", "30% of 3 is less than one: this rule can never act"),
    ],
)
def test_a_guard_that_guards_nothing_or_all_is_warned_of(tmp_path, guard, said):
    body = f"{DO}verify: [{{http: 'http://x'}}]\nguard: {{{guard}}}"
    loaded = read(tmp_path, {"p/a.yaml": rule(body)})
    assert warnings(loaded) == [said]
    assert (loaded.warnings[0].line, loaded.warnings[0].hint[:5]) == (6, "write")


@pytest.mark.parametrize(
    "guard", ["cooldown: 1s", "budget: 1000/1h", "budget: 24000/1d", "blast_radius: {total: 4, max: 30%}"]
)
def test_a_generous_guard_is_a_guard(tmp_path, guard):
    body = f"{DO}verify: [{{http: 'http://x'}}]\nguard: {{{guard}}}"
    assert warnings(read(tmp_path, {"p/a.yaml": rule(body)})) == []


def test_a_warning_of_a_default_is_said_once_where_it_stands(tmp_path):
    two = SMALLEST + SMALLEST.replace("rules:\n", "").replace("one", "two").replace("Down", "Up")
    loaded = read(tmp_path, {"p/pack.yaml": "name: p\ndefaults: {cooldown: 0}", "p/a.yaml": two})
    assert [str(each.path)[-9:] for each in loaded.warnings if "cooldown" in each.text] == ["pack.yaml"]


# --- defaults ---


def test_the_pack_outranks_the_site_and_the_rule_outranks_both(tmp_path):
    site = "cooldown: 1m, budget: 1/1h, guard: {budget_global: 7/1h}, hold: 1m, max_hold: 1h, unknown_for: 3m, flap_window: 9m"
    found = limits(
        tmp_path,
        "budget: 3/3h",
        site=site,
        pack="budget: 2/2h, guard: {cooldown: 2m}, max_hold: 2h, approval: 5m",
        more="hold: 3m",
    )
    assert found == Limits(
        cooldown=2 * MINUTE,
        budget=Rate(3, 3 * HOUR),
        budget_global=Rate(7, HOUR),
        hold=3 * MINUTE,
        max_hold=2 * HOUR,
        unknown_for=3 * MINUTE,
        flap_window=9 * MINUTE,
        approval=5 * MINUTE,
    )  # fmt: skip


def test_a_rule_adds_to_what_is_protected_and_never_takes_away(tmp_path):
    found = limits(tmp_path, "protected: c", site="protected: [a, a2]", pack="guard: {protected: b}")
    assert found.protected == ("a", "a2", "b", "c")
    assert limits(tmp_path, "protected: []", site="protected: a").protected == ("a",)


def test_a_rule_with_hours_of_its_own_keeps_the_sites_freeze(tmp_path):
    found = limits(tmp_path, f"windows: {{allow: {OFFICE}}}", site=f"windows: {{deny: {FRIDAY}}}")
    assert found.windows == Windows((parse_window(OFFICE),), (parse_window(FRIDAY),))
    other = limits(tmp_path, "windows: {deny: []}", site=f"windows: {{deny: {FRIDAY}}}")
    assert other.windows == Windows()


@pytest.mark.parametrize(
    ("far", "near", "found"),
    [
        ("storm: 20/5m", "storm: {calm: 1h}", Limits(storm=StormLimit(20, 5 * MINUTE, 10, HOUR))),
        ("storm: {targets: 20/5m, below: 15}", "storm: 10/5m", Limits()),
        ("circuit: {lasts: 1h}", "circuit: {failures: 5/6h}", Limits(circuit=Circuit(Rate(5, 6 * HOUR), HOUR))),
        ("circuit: 5/6h", "circuit: {lasts: 1h}", Limits(circuit=Circuit(Rate(5, 6 * HOUR), HOUR))),
        ("circuit: {lasts: 1h}", "circuit: 5/6h", Limits(circuit=Circuit(Rate(5, 6 * HOUR)))),
        ("blast_radius: {total: count(up)}", "blast_radius: {max: 2}", Limits(blast_radius=BlastRadius("count(up)", 2))),
        ("blast_radius: {total: up, max: 5%}", "blast_radius: {max: 2}", Limits(blast_radius=BlastRadius("up", 2))),
    ],
)  # fmt: skip
def test_a_table_changes_the_keys_that_it_names_and_a_short_form_says_all(tmp_path, far, near, found):
    assert limits(tmp_path / "pack", near, pack=far) == found
    assert limits(tmp_path / "site", near, site=f"guard: {{{far}}}") == found


def test_defaults_may_hold_vars_of_each_pack(tmp_path):
    files = {
        "site.yaml": SITE
        + "defaults: {hold: '{{ vars.hold }}', protected: ['db-{{ vars.hold }}'], actions_at_once: 3}",
        "p/pack.yaml": "name: p\nvars: {hold: 1m}",
        "p/a.yaml": SMALLEST,
        "q/pack.yaml": "name: q\nvars: {hold: 2m}",
        "q/a.yaml": SMALLEST,
    }
    loaded = read(tmp_path, files)
    assert [(one.limits.hold, one.limits.protected) for one in loaded.rules] == [
        (MINUTE, ("db-1m",)),
        (2 * MINUTE, ("db-2m",)),
    ]
    assert loaded.at_once.actions == 3


def test_the_mode_and_the_term_of_approvals_have_defaults_too(tmp_path):
    files = {"site.yaml": SITE + "defaults: {mode: approve, approval: {timeout: 20m}}", "p/a.yaml": SMALLEST}
    (one,) = read(tmp_path, files).rules
    assert (one.mode, one.limits.approval, one.ladder[0].approval) == (Mode.APPROVE, 20 * MINUTE, None)


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        ("{budget: 3/1h, guard: {budget: 4/1h}}", "defaults.budget: `budget` stands inside and beside `guard`, keep"),
        ("{budget: many}", "defaults.budget: 'many' is no rate"),
        ("{guard: {budget: many}}", "defaults.guard.budget: 'many' is no rate"),
        ("{guard: many}", "defaults.guard: `many` is not a table"),
        ("{approval: true}", "defaults.approval: `true` is not a duration, write how long a person has, such as 15m"),
        ("{approval: {timeuot: 5m}}", "is not a duration"),
        ("{hold: '{{ vars.nope }}'}", "defaults.hold: no var is called `nope`"),
        ("{hold: '{{ nope }}'}", "defaults.hold: unknown name nope"),
        ("{yield_to: [x]}", "defaults.yield_to: `yield_to` does not stand here, write it in a rule"),
        ("{timeout: 5s}", "unknown key `timeout`"),
        ("5", "defaults: `5` is not a table"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["site.yaml", "p/pack.yaml"])
def test_what_is_wrong_with_defaults_is_said_where_they_stand(tmp_path, place, defaults, said):
    files = {
        "site.yaml": SITE,
        "p/pack.yaml": "name: p\n",
        "p/a.yaml": SMALLEST,
        "p/b.yaml": SMALLEST.replace("one", "two"),
    }
    found = problems(tmp_path, {**files, place: files[place] + f"defaults: {defaults}"})
    assert len(found) == 1
    assert found[0].startswith(f"{place}:2:")
    assert said in found[0]


def test_a_mistake_beside_a_var_is_found_in_defaults_too(tmp_path):
    site = SITE + "vars: {x: db}\ndefaults: {protected: ['{{ vars.x }}', 5]}"
    (found,) = problems(tmp_path, {"site.yaml": site, "p/a.yaml": SMALLEST})
    assert found.startswith("site.yaml:3:40: defaults.protected[1]: `5` is a number")


# --- the whole daemon ---


def test_the_site_bounds_what_the_daemon_does_at_once(tmp_path):
    files = {"site.yaml": SITE + "defaults: {actions_at_once: 2, probes_at_once: 9}", "p/a.yaml": SMALLEST}
    loaded = read(tmp_path, files)
    assert loaded.rulebook.at_once == loaded.at_once == AtOnce(2, 9)
    assert "at_once" not in str(loaded.documents)
    assert read(tmp_path / "other", {"p/a.yaml": SMALLEST}).rulebook.at_once == AtOnce(8, 64)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"site.yaml": SITE + "defaults: {actions_at_once: 0}"}, "site.yaml:2:29: defaults.actions_at_once: `0` should be"),
        ({"site.yaml": SITE + "defaults: {probes_at_once: 1001}"}, "`1001` should be less than or equal to 1000"),
        ({"site.yaml": SITE + "defaults: {probes_at_once: 1.5}"}, "`1.5` is not a whole number"),
        ({"site.yaml": SITE + "actions_at_once: 3"}, "`actions_at_once` does not stand here, write it under `defaults`"),
        ({"p/pack.yaml": "name: p\ndefaults: {actions_at_once: 3}"}, "it is for the whole daemon: write it under `defaults` of"),
    ],
)  # fmt: skip
def test_only_the_site_bounds_the_daemon(tmp_path, files, said):
    (found,) = problems(tmp_path, {**files, "p/a.yaml": SMALLEST})
    assert said in found


# --- versions ---


@pytest.mark.parametrize(
    "changed",
    [
        {"site.yaml": SITE + "defaults: {budget_global: 9/1h}"},
        {"site.yaml": SITE + "defaults: {approval: 9m}"},
        {"site.yaml": SITE + "defaults: {guard: {protected: x}}"},
        {"p/pack.yaml": "name: p\ndefaults: {windows: {deny: 'Fri 16:00-24:00'}}"},
        {"p/a.yaml": rule(f"{DO}guard: {{storm: 9/5m}}")},
        {"p/a.yaml": rule(f"{DO}approval: true")},
        {"p/a.yaml": rule(f"{DO}once: true")},
    ],
)
def test_a_version_changes_with_all_that_bounds_a_rule(tmp_path, changed):
    files = {"p/pack.yaml": "name: p", "p/a.yaml": rule(DO)}
    before = read(tmp_path / "before", files)
    after = read(tmp_path / "after", {**files, **changed})
    assert before.rules[0].version != after.rules[0].version
    assert before.hash != after.hash


def test_what_bounds_the_daemon_changes_the_configuration_and_no_rule(tmp_path):
    before = read(tmp_path / "before", {"p/a.yaml": SMALLEST})
    after = read(
        tmp_path / "after", {"p/a.yaml": SMALLEST, "site.yaml": SITE + "defaults: {actions_at_once: 1}"}
    )
    assert before.rules[0].version == after.rules[0].version
    assert before.hash != after.hash
