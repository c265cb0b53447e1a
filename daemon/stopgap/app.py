"""App: builds everything once, starts it in order, and stops it in reverse; nothing starts anywhere else.

A reload builds a whole new rulebook first, and swaps only when nothing is wrong with it.
"""

import asyncio
import gc
import os
import secrets
import stat
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from pydantic import SecretStr

from stopgap import api, log as logs
from stopgap.alertmanager import Alertmanagers
from stopgap.clock import SteadyClock
from stopgap.config import Loaded, build_rule, load
from stopgap.contacts import Contacts
from stopgap.credential import Credential
from stopgap.dependency import Dependency
from stopgap.drill import Drills
from stopgap.engine import DRAIN, Engine
from stopgap.errors import ConfigError, PermanentError, Problem, StoreError
from stopgap.explain import Explainer, Reach
from stopgap.forward import Forward
from stopgap.front import Front
from stopgap.headroom import Headroom
from stopgap.heartbeat import heartbeat
from stopgap.incident import Event, EventKind as K
from stopgap.letters import Letterbox, Postman
from stopgap.link import Links
from stopgap.metrics import Metrics, few
from stopgap.orders import Orders
from stopgap.pruner import Pruner
from stopgap.reconciler import Reconciler
from stopgap.rehearsal import Rehearsal, Rehearser, rehearse
from stopgap.rulebook import UNCHANGED, Changes, changes_of
from stopgap.settings import Settings
from stopgap.stock import build_catalog, live_context
from stopgap.store import Store, join, open_store
from stopgap.tell import Teller, no_link
from stopgap.terms import Terms
from stopgap.timekeeper import Timekeeper
from stopgap.vitals import Vitals
from stopgap.webhook import Intake, Limits, Webhook

log = structlog.get_logger(__name__)

TOKEN_FILE = "control.token"  # noqa: S105 - a file's name
MOST_OBSTACLES = 20  # lines of the log


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The answer to a reload: how many rules are in force now, and what is wrong when they are the old ones, or what changed."""

    rules: int
    problems: tuple[Problem, ...] = ()
    changes: Changes = UNCHANGED


class App:
    """One daemon. `start` may raise ConfigError or StoreError; `stop` undoes as much as was started."""

    def __init__(self, settings: Settings, clock: SteadyClock | None = None, *, anew: bool = False) -> None:
        self.settings = settings
        self.clock = clock or SteadyClock()
        self.context = live_context(settings)
        self.catalog = build_catalog(self.context)
        self._stack = AsyncExitStack()
        self._reloading = asyncio.Lock()
        self.rehearser = Rehearser(self._rehearse, tell_rehearsal)
        self.front = Front(*settings.address)
        self._anew = anew  # this process ran before, on the same store
        self._leads = False
        self._acts = False
        self._drain = DRAIN

    async def start(self) -> None:
        """Load the rules, open the store, replay it, and only then listen; stand by while another daemon leads."""
        async with self._reloading:
            self._loaded = await self._load()
            self.metrics = self._metrics(self._loaded)
        self._stack.push_async_callback(self.context.http.close)
        self._stack.callback(self.context.contacts.close)
        self.front.on_shed = self.metrics.shed
        self.store = await self._open_store()
        self._stack.push_async_callback(self.store.close)
        async with self._reloading:  # who wants other rules now waits until these are in force
            self._leads = True
            await self._lead(self._loaded)

    async def _lead(self, loaded: Loaded) -> None:
        self.context.contacts.replace(loaded.contacts)
        self.store.on_batch = self.metrics.committed
        self.headroom = Headroom(self.store, self.clock)
        await self.headroom.use(few(loaded.rules))
        terms = Terms(self.settings.mode, self.settings.probation)
        self.engine = Engine(self.store, self.catalog, self.clock, loaded.rulebook, self._rebuild, terms)
        self.timekeeper = Timekeeper(self.clock, lambda: not self.engine.incidents, self.store.control)
        self.vitals = Vitals(self.settings, self.store, self.context, self.clock, self._ready)
        self._observe()
        await self.engine.start()
        self._acts = True
        self.reconciler = self._reconciler()
        self.engine.trust(self.reconciler)
        self.vitals.surveyed = lambda: self.reconciler.last
        self.drills = Drills(self.engine, Orders(self.engine, self.clock), self.clock)
        self.drills.start()
        await self.reconciler.start()
        self.teller.start()
        self._stack.push_async_callback(lambda: self.engine.stop(self._drain))
        self._stack.push_async_callback(self.reconciler.stop)
        self._stack.push_async_callback(self.drills.stop)
        self._stack.push_async_callback(self.timekeeper.stop)
        await self._stack.enter_async_context(heartbeat(self._beat, self.clock))
        await self._listen()
        self.vitals.begin()
        self._stack.push_async_callback(self.vitals.stop)
        pruned, book = self.metrics.pruned, lambda: self.engine.rulebook
        self.pruner = Pruner(
            self.store.pruning, self.clock, book, self.settings.retention, pruned, lambda: self.clock.offset
        )
        self.pruner.begin()
        self._stack.push_async_callback(self.pruner.stop)
        self.rehearser.begin()
        self._stack.push_async_callback(self.rehearser.stop)
        log.info(
            "started", listen=self.settings.listen, rules=len(loaded.rules), live=len(self.engine.incidents)
        )
        for warning in loaded.warnings:
            log.warning("rule_warning", where=str(warning))

    async def _open_store(self) -> Store:
        settings = self.settings
        if settings.database_url is None:
            return await open_store(settings.data, self.clock)
        url, ttl = settings.database_url.get_secret_value(), settings.leader_ttl.total_seconds()
        standby = await join(url, ttl, settings.peer_url or "", self.clock, anew=self._anew)
        self._stack.push_async_callback(standby.close)
        self.metrics.stand_by(lambda: {Dependency.STORE.value: standby.error})
        letterbox = Letterbox(standby)
        webhook = self._webhook(letterbox)
        webhook.on_heard = letterbox.heard
        token = Credential(self._token())
        forward = Forward(
            standby, webhook, token, self.metrics.render, self.reload, self.context.http.session
        )
        self._stack.push_async_callback(self.front.close)
        self._stack.push_async_callback(standby.withdraw)  # before slow requests are waited for
        await self.front.show(forward.application(settings.max_body))
        log.info("standing_by", listen=settings.listen)
        async with heartbeat(self._beat_standing_by, self.clock):
            store = await standby.elected()
        forward.give_up()
        log.info("leads")
        return store

    async def stop(self, *, cut_off: bool = False) -> None:
        """Stop in reverse: take no more requests, drain to the next step border, revert nothing, close the store.

        `cut_off` waits for no act: another daemon may be about to ask what became of it.
        """
        self._drain = 0.0 if cut_off else DRAIN
        if cut_off and self._acts:  # at once: all else may take longer than the lease lasts
            await self.engine.stop(0.0)
        await self._stack.aclose()

    def _intake(self) -> Intake:
        """Return who takes notifications: where others stand by, somebody who works off before what these have taken."""
        if self.settings.database_url is None:
            return self.engine
        postman = Postman(self.store, self.engine, self.metrics, self.reconciler.heard)
        postman.begin()
        self._stack.push_async_callback(postman.stop)
        return postman

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
                return Reloaded(len(self._loaded.rules), error.problems)
            before, self._loaded = self._loaded.rulebook, loaded
            if not self._leads:
                self.metrics.loaded(loaded.rulebook.rules, self.clock.now())
                return Reloaded(len(loaded.rules), changes=changes_of(before, loaded.rulebook, {}))
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
        if not self._leads:
            log.warning(kind.value, **detail)
            return
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
        metrics.bound(self.settings.mode)
        return metrics

    def _beat(self, late: float, now: datetime) -> None:
        self.timekeeper.look()
        self.engine.skew = timedelta(seconds=self.timekeeper.offset)
        self.metrics.lagged(late, now, self.timekeeper.offset)
        self.metrics.leads(self.store.epoch, certain=self.store.leads)

    def _beat_standing_by(self, late: float, now: datetime) -> None:
        if self.clock.look():
            self.clock.follow()  # nothing is under way
        self.metrics.lagged(late, now, self.clock.offset)

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
            rebuild=self._rebuild,
            ready=self._ready,
            rehearser=self.rehearser,
            explainer=Explainer(self.engine, self.clock, unreachable(self.context.contacts)),
            login_refused=self.metrics.login_refused,
            hosts=frozenset(settings.hosts),
            links=self.links,
            dependencies=self.vitals.outside,
            drills=self.drills,
            leads=lambda: self.store.leads,
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
        webhook = self._webhook(self._intake())
        webhook.on_heard = self.reconciler.heard
        webhook.mount(app)
        api.mount(app, self._desk())
        self._stack.push_async_callback(self.front.close)
        await self.front.show(app)

    def _webhook(self, intake: Intake) -> Webhook:
        credential = Credential(self.settings.webhook_token, basic=True)
        return Webhook(intake, self.metrics, credential, Limits(body=self.settings.max_body))


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


def collect_seldom() -> None:
    """Let garbage collections be rare: full ones stall the loop, and a replay makes much that stays."""
    gc.set_threshold(50_000, 20, 100)


def settle_memory() -> None:
    """Take what was built at start out of garbage collection, but for what was built at a start before."""
    collect_seldom()
    gc.unfreeze()
    gc.collect()
    gc.freeze()


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
