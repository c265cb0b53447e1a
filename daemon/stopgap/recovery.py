"""Recovery: what is asked where a rule has no `recovered` of its own: whether its alerts are over in Prometheus."""

from collections.abc import Iterable, Mapping

from stopgap.rule import ProbeSpec

ALERT = "alert"  # the probe of this name
_NAME = "alertname"


def default_recovered(alerts: Iterable[Mapping[str, str]]) -> tuple[ProbeSpec, ...]:
    """Return one `alert` probe per alertname and job, with the labels that all such alerts share.

    `alerts` are the label sets of all alerts that the incident ever had, in the order in which they came: so an alert that joins
    appends a probe, and the answers to the others keep their place. Empty where an alert has no name, because Prometheus
    cannot be asked about it: nothing can be proven.
    """
    shared: dict[tuple[str, str], dict[str, str]] = {}
    for labels in alerts:
        name = labels.get(_NAME)
        if not name:
            return ()
        kind = (name, labels.get("job", ""))
        known = shared.get(kind)
        shared[kind] = dict(labels) if known is None else dict(known.items() & labels.items())
    return tuple(ProbeSpec(ALERT, {"labels": dict(sorted(one.items()))}) for one in shared.values())
