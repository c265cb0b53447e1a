"""App: builds everything once, starts it in order, and stops it in reverse; nothing starts anywhere else.

A reload builds a whole new rulebook first, and swaps only when nothing is wrong with it.
"""

import asyncio
import gc
import logging
import os
import secrets
import signal
import stat
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from datetime import datetime, timedelta
from typing import Any

import structlog
from aiohttp import web
from pydantic import SecretStr

from stopgap import actions, api, log as logs, probes
from stopgap.alertmanager import Alertmanagers
from stopgap.body import SERVER
from stopgap.catalog import Catalog
from stopgap.clock import SteadyClock
from stopgap.config import Loaded, build_rule, load
from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.credential import Credential
from stopgap.drill import Drills
from stopgap.engine import Engine
from stopgap.errors import ConfigError, PermanentError, Problem, StopgapError, StoreError
from stopgap.explain import Explainer, Reach
from stopgap.headroom import Headroom
from stopgap.heartbeat import heartbeat
from stopgap.incident import Event, EventKind as K
from stopgap.link import Links
from stopgap.metrics import Metrics, few
from stopgap.orders import Orders
from stopgap.prometheus import Prometheus
from stopgap.reconciler import Reconciler
from stopgap.rehearsal import Rehearsal, Rehearser, rehearse
from stopgap.rulebook import UNCHANGED, Changes, changes_of
from stopgap.settings import Settings
from stopgap.store import Store, open_store
from stopgap.tell import Teller, no_link
from stopgap.terms import Terms
from stopgap.vitals import Vitals
from stopgap.webhook import Limits, Webhook

log = structlog.get_logger(__name__)
from stopgap.timekeeper import Timekeeper

TOKEN_FILE = "control.token"  # noqa: S105 - a file's name
MOST_OBSTACLES = 20  # lines of the log
SHUTDOWN = 5.0  # seconds that open connections are given at the end


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


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The answer to a reload: how many rules are in force now, and what is wrong when they are the old ones, or what changed."""

    rules: int
    problems: tuple[Problem, ...] = ()
    changes: Changes = UNCHANGED


class App:
    """One daemon. `start` may raise ConfigError or StoreError; `stop` undoes as much as was started."""

    def __init__(self, settings: Settings, clock: SteadyClock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SteadyClock()
        self.context = live_context(settings)
        self.catalog = build_catalog(self.context)
        self._stack = AsyncExitStack()
        self._reloading = asyncio.Lock()
        self.rehearser = Rehearser(self._rehearse, tell_rehearsal)

    async def start(self) -> None:
        """Load the rules, open the store, replay it, and only then listen."""
        loaded = await self._load()
        self.context.contacts.replace(loaded.contacts)
        self._stack.push_async_callback(self.context.http.close)
        self._stack.callback(self.context.contacts.close)
        self.store = await open_store(self.settings.data, self.clock)
        self._stack.push_async_callback(self.store.close)
        self.metrics = self._metrics(loaded)
        self.headroom = Headroom(self.store, self.clock)
        await self.headroom.use(few(loaded.rules))
        terms = Terms(self.settings.mode, self.settings.probation)
        self.engine = Engine(self.store, self.catalog, self.clock, loaded.rulebook, self._rebuild, terms)
        self.vitals = Vitals(self.settings, self.store, self.context, self.clock, self._ready)
        self._observe()
        await self.engine.start()
        self.reconciler = self._reconciler()
        self.engine.trust(self.reconciler)
        self.vitals.surveyed = lambda: self.reconciler.last
        self.drills = Drills(self.engine, Orders(self.engine, self.clock), self.clock)
        self.drills.start()
        await self.reconciler.start()
        self.teller.start()
        self._stack.push_async_callback(self.engine.stop)
        self._stack.push_async_callback(self.reconciler.stop)
        self.timekeeper = Timekeeper(self.clock, lambda: not self.engine.incidents, self.store.control)
        self._stack.push_async_callback(self.drills.stop)
        self._stack.push_async_callback(self.timekeeper.stop)
        await self._stack.enter_async_context(heartbeat(self._beat, self.clock))
        await self._listen()
        self.vitals.begin()
        self._stack.push_async_callback(self.vitals.stop)
        self.rehearser.begin()
        self._stack.push_async_callback(self.rehearser.stop)
        log.info(
            "started", listen=self.settings.listen, rules=len(loaded.rules), live=len(self.engine.incidents)
        )
        for warning in loaded.warnings:
            log.warning("rule_warning", where=str(warning))

    async def stop(self) -> None:
        """Stop in reverse: take no more requests, drain to the next step border, revert nothing, close the store."""
        await self._stack.aclose()

    # --- rules ---

    async def _load(self) -> Loaded:
        def read() -> Loaded:
            given = self.settings.all_vars()
            return load(self.settings.rules, self.catalog, vars=given, environ=os.environ)

        return await asyncio.to_thread(read)

    def _rebuild(self, document: Any) -> Any:
        return build_rule(document, self.catalog)

    async def reload(self) -> Reloaded:
        """Build all, then swap; a mistake keeps the rules in force and is said in log, metric and answer. Raises StoreError."""
        async with self._reloading:
            try:
                loaded = await self._load()
            except ConfigError as error:
                problems = tuple(str(problem) for problem in error.problems)
                self.metrics.load_failed()
                await self._note(K.RELOAD_FAILED, problems=problems[:20], count=len(problems))
                return Reloaded(len(self.engine.rulebook.rules), error.problems)
            beside = {"contacts": loaded.contacts != self.context.contacts.book}
            book = loaded.rulebook
            changes = changes_of(self.engine.rulebook, book, beside)
            try:
                await self.headroom.use(few(loaded.rules))
                await self.engine.use(book)  # the swap comes last: nothing after it can fail
            except StoreError:
                self.metrics.load_failed()
                raise
            self.context.contacts.replace(loaded.contacts)
            self.metrics.loaded(self.engine.rulebook.rules, self.clock.now())
            told = {key: each for key, each in changes.told().items() if each}
            await self._note(K.RELOADED, rules=len(loaded.rules), hash=loaded.hash, **told)
            self.rehearser.begin()
            return Reloaded(len(loaded.rules), changes=changes)

    async def _rehearse(self) -> Rehearsal:
        return await rehearse(self.engine.rulebook, self.catalog, self.clock)

    async def _note(self, kind: K, **detail: Any) -> None:
        try:
            await self.store.control(Event(kind, self.clock.now(), detail))
        except StoreError as error:  # what is said is true all the same
            log.error(kind.value, store=str(error), **detail)  # noqa: TRY400 - expected, no trace

    def _reconciler(self) -> Reconciler:
        settings = self.settings
        urls, session = settings.alertmanager, self.context.http.session
        surveyor = Alertmanagers(urls, session, self.clock, resend_delay=settings.resend_delay)
        confirm = self.engine.performer.over if settings.prometheus else None
        return Reconciler(
            self.engine, self.clock, surveyor, confirm, settings.receiver, every=settings.poll_every
        )

    # --- observers ---

    def _metrics(self, loaded: Loaded) -> Metrics:
        contacts = {name for book in loaded.contacts.values() for name in book}
        metrics = Metrics(self.catalog.actions, self.catalog.probes, contacts)
        metrics.loaded({rule.id: rule for rule in loaded.rules}, self.clock.now())
        self.store.on_batch = metrics.committed
        return metrics

    def _observe(self) -> None:
        self.metrics.watch(
            self.engine, lambda: self.store.queue_length, self.headroom.left, self.vitals.outside
        )
        self.vitals.on_beat = self.metrics.beat
        self.engine.performer.asker.on_asked = self.metrics.asked
        self.links = Links(self._token(), self.settings.external_url) if self.settings.external_url else None
        link = self.links.url if self.links is not None else no_link
        contacts, rule_of = self.context.contacts, self.engine.rule_of
        self.teller = Teller(self.store, contacts, self.clock, rule_of, link, self._rebuild)
        for observer in (logs.observe, self.metrics.observe, self.headroom.observe, self.teller.observe):
            self.engine.subscribe(observer)
        self._stack.push_async_callback(self.teller.stop)

    # --- the web ---

    def _desk(self) -> api.Desk:
        settings = self.settings
        return api.Desk(
            engine=self.engine,
            orders=Orders(self.engine, self.clock),
            token=Credential(self._token()),
            clock=self.clock,
            metrics=self.metrics.render,
            reload=self.reload,
            ready=self._ready,
            rehearser=self.rehearser,
            explainer=Explainer(self.engine, self.clock, unreachable(self.context.contacts)),
            login_refused=self.metrics.login_refused,
            hosts=frozenset(settings.hosts),
            links=self.links,
            dependencies=self.vitals.outside,
            drills=self.drills,
        )

    def _token(self) -> SecretStr:
        return self.settings.control_token or token_in(self.settings.data)

    def _ready(self) -> dict[str, str]:
        return {
            "store": self.vitals.store_trouble(),
            "rules": "" if self.engine.rulebook.rules else "no rule is loaded",
        }

    async def _listen(self) -> None:
        settings = self.settings
        app = web.Application(client_max_size=settings.max_body)
        credential = Credential(settings.webhook_token, basic=True)
        webhook = Webhook(self.engine, self.metrics, credential, Limits(body=settings.max_body))
        webhook.on_heard = self.reconciler.heard
        webhook.mount(app)
        api.mount(app, self._desk())
    def _beat(self, late: float, now: datetime) -> None:
        self.timekeeper.look()
        self.engine.skew = timedelta(seconds=self.timekeeper.offset)
        self.metrics.lagged(late, now, self.timekeeper.offset)

        runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN, **SERVER)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        host, port = settings.address
        await web.TCPSite(runner, host, port).start()


def tell_rehearsal(found: Rehearsal) -> None:
    """Log what is in the way of the rules, or that nothing is."""
    for one in found.obstacles[:MOST_OBSTACLES]:
        log.warning("obstacle", rule=one.rule, where=one.where, why=one.text)
    if found.obstacles:
        log.warning("rehearsed", tried=found.tried, obstacles=len(found.obstacles), notes=len(found.notes))
    else:
        log.info("rehearsed", tried=found.tried, notes=len(found.notes))


def unreachable(contacts: Contacts) -> Reach:
    """Return what says why a contact hears nothing, or an empty text."""

    def flaw(pack: str, name: str) -> str:
        try:
            contacts.check(pack, name)
        except PermanentError as error:
            return str(error)
        return ""

    return flaw


def settle_memory() -> None:
    """Take what was built at start out of garbage collection, and let full collections be rare: they stall the loop."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def token_in(data: Path) -> SecretStr:
    """Return the control token of a data directory, made (0600) when there is none; an empty one would let nobody in."""
    path, fresh = data / TOKEN_FILE, data / (TOKEN_FILE + ".new")
    if not path.exists() or not path.read_text(encoding="utf-8").strip():
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        fresh.replace(path)
    return SecretStr(path.read_text(encoding="utf-8").strip())


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reloads."""
    app = App(settings)
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            await app.reload()
        except StoreError as error:
            log.error("reload_failed", why=str(error))  # noqa: TRY400 - expected, no trace

    def hang_up() -> None:
        task = asyncio.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, over.set)
        await app.start()
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        settle_memory()
        await over.wait()
        log.info("stopping")
    finally:
        await app.stop()


def run(settings: Settings, refuse: Callable[[tuple[Problem, ...]], None] | None = None) -> int:
    """Serve; returns the exit code: 0 after a signal, 2 when a person must edit something first.

    `refuse` says what that is; without it the log does.
    """
    logs.configure(
        console={"json": False, "console": True}.get(settings.log_format),
        level=logging.getLevelNamesMapping()[settings.log_level.upper()],
    )
    try:
        asyncio.run(serve(settings))
    except ConfigError as error:
        (refuse or _log)(error.problems)
        return 2
    except (StopgapError, OSError) as error:
        log.error("cannot_start", why=str(error))  # noqa: TRY400 - expected, no trace
        return 2
    return 0


def _log(problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        log.error("rule_error", **asdict(problem))


__all__ = ["App", "Reloaded", "Store", "bare_context", "build_catalog", "live_context", "run", "serve"]
