"""Counts that are put into their counters when these are read."""

from prometheus_client import CollectorRegistry, Counter, generate_latest

from stopgap.abacus import Abacus, Family


def test_what_was_counted_is_there_whenever_somebody_reads_and_only_once():
    registry = CollectorRegistry()
    abacus = Abacus(registry)
    plain = Counter("plain_total", "p", registry=registry)
    family = Counter("family_total", "f", ["rule"], registry=registry)
    by_rule = Family(family)
    abacus.count(plain)
    abacus.count(by_rule.of("a"), 3)
    abacus.count(by_rule.of("a"))
    family.labels("a").inc(10)
    for _ in range(2):
        text = generate_latest(registry).decode()
        assert "plain_total 1.0" in text
        assert 'family_total{rule="a"} 14.0' in text
    abacus.count(plain, 2)
    assert registry.get_sample_value("plain_total") == 3
