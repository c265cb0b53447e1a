"""Query: the PromQL text that a probe asks, as far as it is known before an alert fires."""

from collections.abc import Mapping

from stopgap.rule import ProbeSpec
from stopgap.template import Template

PROMQL = "promql"  # the probe of this name


def query_of(probe: ProbeSpec) -> str:
    """Return the query of a promql probe, with a word for what only an alert will show; "" for other probes."""
    if probe.probe != PROMQL or not isinstance(probe.params, Mapping):
        return ""
    query = probe.params.get("query", "")
    if isinstance(query, Template):
        return "".join(part if isinstance(part, str) else "x" for part in query.parts)
    return str(query)
