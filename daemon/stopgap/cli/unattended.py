"""Unattended: explains without a daemon: from rule files, and from what a stopped daemon left, if anything."""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stopgap.cli.client import only
from stopgap.cli.daemon import settings
from stopgap.cli.problems import refuse
from stopgap.cli.screen import REFUSED, WRONG_USAGE, clean, fail

if TYPE_CHECKING:
    from stopgap.alert import Alert
    from stopgap.engine import Engine
    from stopgap.explanation import Explanation
    from stopgap.store import Store

NOTHING_BEFORE = "as if nothing had happened before"
MOST_CLOSED = 1000  # incidents whose ids may be abbreviated


@dataclass(frozen=True, slots=True)
class Site:
    """What the command line says of the rules, and of the daemon that does not run."""

    rules: Path | None
    data: Path | None
    mode: str | None
    vars: list[Path] | None
    var: list[str] | None
    ask: bool

    @property
    def note(self) -> str:
        """Say on what an explanation rests."""
        known = f"with what {clean(self.data)} holds" if self.data is not None else NOTHING_BEFORE
        asked = "" if self.ask else "; no probe is asked (--ask asks)"
        return f"offline: {known}{asked}"


def explain(site: Site, body: Mapping[str, Any], nearest: int) -> dict[str, Any]:
    """Return the explanation as JSON; ends with 1 or 2 when there can be none."""
    from stopgap import view
    from stopgap.errors import ConfigError, StoreError

    try:
        return view.explanation(asyncio.run(_explain(site, body, nearest)))
    except ConfigError as error:
        refuse(error.problems)
        raise typer.Exit(WRONG_USAGE) from None
    except StoreError as error:
        fail(clean(error))


async def _explain(site: Site, body: Mapping[str, Any], nearest: int) -> "Explanation":
    from stopgap.app import unreachable
    from stopgap.clock import SystemClock
    from stopgap.config import build_rule, load
    from stopgap.engine import Engine
    from stopgap.explain import Explainer
    from stopgap.stock import bare_context, build_catalog, live_context
    from stopgap.terms import Terms

    chosen = settings(rules=site.rules, mode=site.mode, vars=site.vars, var=site.var)
    context = live_context(chosen) if site.ask else bare_context()
    catalog = build_catalog(context)
    if not site.ask:
        catalog = replace(catalog, measure=_unmeasured)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(context.http.close)
        stack.callback(context.contacts.close)
        loaded = load(chosen.rules, catalog, vars=chosen.all_vars(), environ=os.environ)
        context.contacts.replace(loaded.contacts)
        store = await _store(site.data, stack)
        engine = Engine(
            store,
            catalog,
            SystemClock(),
            loaded.rulebook,
            lambda document: build_rule(document, catalog),
            Terms(chosen.mode),
        )
        await engine.look()
        explainer = Explainer(engine, SystemClock(), unreachable(context.contacts), asks=site.ask)
        if "incident" not in body:
            return await explainer.alerts(_alerts(body), nearest=nearest)
        identifier = await _identifier(engine, str(body["incident"]))
        found = await explainer.incident(identifier)
        return found if found is not None else fail(f"no incident {clean(identifier)}")


async def _store(data: Path | None, stack: AsyncExitStack) -> "Store":
    """Open what a stopped daemon left; without it, a store that knows of nothing and is gone afterwards."""
    from stopgap.cli import stopped
    from stopgap.clock import SystemClock
    from stopgap.store import open_store

    if data is None:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stopgap-explain-")))
    else:
        stopped.claim(data)
    store = await open_store(data, SystemClock())
    stack.push_async_callback(store.close)
    return store


async def _identifier(engine: "Engine", wanted: str) -> str:
    rows = await engine.journal.closed(rule=None, target=None, before=None, limit=MOST_CLOSED)
    return only([*engine.incidents, *(row.id for row in rows)], wanted)


def _alerts(body: Mapping[str, Any]) -> "list[Alert]":
    from stopgap.alert import BadAlert, read_alert
    from stopgap.clock import SystemClock
    from stopgap.explain import alert_with

    labels = body.get("labels")
    told = (
        [alert_with(labels, SystemClock().now())] if labels else [read_alert(one) for one in body["alerts"]]
    )
    for i, one in enumerate(told):
        if isinstance(one, BadAlert):
            fail(f"the webhook would not take this alert: alerts[{i}]: {one}", REFUSED)
    return [one for one in told if not isinstance(one, BadAlert)]


async def _unmeasured(query: str, timeout: timedelta) -> float:  # noqa: ARG001, ASYNC109 - the port's signature
    from stopgap.errors import ProbeError

    raise ProbeError("not asked: --ask asks")
