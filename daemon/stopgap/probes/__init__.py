"""Probes: the kinds of question that ship, one file each, and those that other packages bring."""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from stopgap.config.codes import Wrong
from stopgap.context import Context
from stopgap.errors import ConfigError, Problem
from stopgap.probe import Probe
from stopgap.probes.alert import Alert
from stopgap.probes.exec import Exec
from stopgap.probes.http import Http
from stopgap.probes.promql import Promql
from stopgap.probes.redis import Redis
from stopgap.probes.sql import Sql
from stopgap.probes.tcp import Tcp

SHIPPED: tuple[Callable[[Context], Probe[Any]], ...] = (Promql, Alert, Http, Tcp, Exec, Sql, Redis)
GROUP = "stopgap.probes"


def build(context: Context) -> dict[str, Probe[Any]]:
    """Make one of each kind, by name: ours, then those of the entry-point group `stopgap.probes`.

    Raises ConfigError for a package that cannot be imported and for a name that is taken.
    """
    probes = {probe.name: probe for probe in (make(context) for make in SHIPPED)}
    problems: list[Problem] = []
    for point in entry_points(group=GROUP):
        try:
            probe: Probe[Any] = point.load()(context)
        except (ImportError, AttributeError) as error:
            problems.append(_problem(point.name, f"cannot be loaded: {error}", "reinstall its package"))
            continue
        if probe.name in probes:
            problems.append(_problem(point.name, f"the probe {probe.name!r} exists", "uninstall one package"))
        probes.setdefault(probe.name, probe)
    if problems:
        raise ConfigError(tuple(problems))
    return probes


def _problem(name: str, text: str, hint: str) -> Problem:
    return Problem(GROUP, 1, 1, name, Wrong.BAD_PACKAGE, text, hint)
