"""Coverage: whether the alerting rules beside a pack and the rules of Stopgap know of each other.

Only names and the labels that an alerting rule sets itself count; what its expression adds is not known here, and may be anything.
"""

from collections.abc import Iterable, Mapping

from stopgap.config.alerts import AlertRule, Alerts, names_in
from stopgap.config.codes import Odd
from stopgap.config.findings import Findings, did_you_mean
from stopgap.config.relations import Place
from stopgap.rule import Rule

MOST_COMPARED = 200  # rules without a list of names that an alert is compared with


class Coverage:
    """Judges all rules and all alerting rules together."""

    def __init__(
        self,
        rules: Mapping[str, Rule],
        places: Mapping[str, Place],
        alerts: Mapping[str, Alerts],
        findings: Findings,
    ) -> None:
        self._rules = rules
        self._places = places
        self._alerts = alerts
        self._findings = findings

    def judge(self) -> None:
        """Warn of rules without their alert, and of alerts without a rule."""
        if any(alerts.rules for alerts in self._alerts.values()):
            for rule in self._rules.values():
                self._known(rule, self._alerts.get(rule.pack, Alerts()))
            self._untaken()

    def _untaken(self) -> None:
        named: dict[str, list[Rule]] = {}
        others: list[Rule] = []
        for rule in self._rules.values():
            names = names_in(rule.matchers)
            for name in names or ():
                named.setdefault(name, []).append(rule)
            if names is None:
                others.append(rule)
        if len(others) > MOST_COMPARED:
            return
        for alert in (alert for alerts in self._alerts.values() for alert in alerts.rules):
            self._taken(alert, (*named.get(alert.name, ()), *others))

    def _known(self, rule: Rule, alerts: Alerts) -> None:
        if not alerts.misses(rule.matchers):
            return
        names = names_in(rule.matchers)
        called = ", ".join(f"`{name[:60]}`" for name in sorted(names or ())[:3])
        known = {alert.name for alert in alerts.rules}
        if names is not None and names & known:
            text = f"the alerting rules of this pack give {called} other labels: this rule never takes it"
            hint = "change a matcher, or the labels there"
        else:
            text = f"no alerting rule of this pack is called {called or 'as this rule wants it'}"
            near = (did_you_mean(name, known) for name in names or ())
            hint = next(
                (each for each in near if each.startswith("did")), "add it there, or correct the name"
            )
        place = self._places[rule.id]
        self._findings.warning(place.match or place.name, text, hint, code=Odd.UNKNOWN_ALERT)

    def _taken(self, alert: AlertRule, rules: Iterable[Rule]) -> None:
        if not any(alert.may_match(rule.matchers) for rule in rules):
            text, hint = (
                f"no rule takes the alert `{alert.name[:60]}`",
                "add one: ladder: [] only tells people",
            )
            self._findings.warning(alert.mark, text, hint, code=Odd.UNTAKEN_ALERT)
