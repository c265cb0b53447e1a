"""Stock: all actions and probes there are, made for what they may reach.

Whoever checks, describes or plays rules needs no daemon for it, and should not wait until all of one is imported.
"""

from stopgap import actions, probes
from stopgap.catalog import Catalog
from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.prometheus import Prometheus
from stopgap.settings import Settings


def build_catalog(context: Context) -> Catalog:
    """Make all actions and probes."""
    return Catalog(actions.build(context), probes.build(context), context.prometheus.number)


def bare_context() -> Context:
    """Return a context that reaches nothing: enough to check rules and to describe actions."""
    http = Http()
    return Context(http, Prometheus(None, http.session), Contacts())


def live_context(settings: Settings) -> Context:
    """Return a context that reaches what the settings name."""
    http = Http()
    return Context(http, Prometheus(settings.prometheus, http.session), Contacts())
