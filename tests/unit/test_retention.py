"""How long closed incidents are kept: as long as is wished, and longer where a guard looks back further."""

from dataclasses import replace
from datetime import timedelta

import pytest

from stopgap.rate import Rate
from stopgap.retention import LEAST, MARGIN, kept_for, looks_back
from stopgap.rule import Circuit, Limits, Rule
from stopgap.settings import Settings
from stopgap.storm import StormLimit

DAY = timedelta(days=1)


def rule(**limits) -> Rule:
    return Rule("pack", "rule", "v1", (), limits=replace(Limits(), **limits))


def test_by_default_guards_look_back_thirty_hours():
    assert looks_back([rule()]) == timedelta(hours=30)  # the circuit: two within 6h, open for 24h


def test_without_rules_nothing_is_looked_back_at():
    assert looks_back([]) == timedelta()


@pytest.mark.parametrize(
    "limits",
    [
        {"cooldown": 40 * DAY},
        {"flap_window": 40 * DAY},
        {"budget": Rate(3, 40 * DAY)},
        {"budget_global": Rate(3, 40 * DAY)},
        {"circuit": Circuit(Rate(2, 10 * DAY), 30 * DAY)},
        {"storm": StormLimit(window=10 * DAY, calm=30 * DAY)},
    ],
    ids=lambda limits: next(iter(limits)),
)
def test_what_a_guard_needs_is_kept_however_short_the_retention_is(limits):
    assert looks_back([rule(), rule(**limits), rule()]) == 40 * DAY
    assert kept_for(7 * DAY, [rule(**limits)]) == 40 * DAY + MARGIN
    assert kept_for(90 * DAY, [rule(**limits)]) == 90 * DAY


def test_nothing_younger_than_a_week_goes_even_if_no_rule_is_loaded():
    assert kept_for(timedelta(), []) == LEAST == 7 * DAY


@pytest.mark.parametrize(("written", "kept"), [("90d", 90 * DAY), ("7d", LEAST), ("0", timedelta())])
def test_a_site_says_how_long_and_nothing_means_for_ever(monkeypatch, written, kept):
    monkeypatch.setenv("STOPGAP_RETENTION", written)
    assert Settings().retention == kept


@pytest.mark.parametrize("written", ["1d", "6d23h", "1ms"])
def test_less_than_a_week_is_refused_with_the_cure(monkeypatch, written):
    monkeypatch.setenv("STOPGAP_RETENTION", written)
    with pytest.raises(ValueError, match="write 7d or longer, such as 90d, or 0 to keep everything"):
        Settings()
