"""Vitals: whether this daemon and what it depends on can do their work, asked regularly, and told to somebody outside."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from stopgap.clock import Clock
from stopgap.context import Context
from stopgap.deadman import Beacon, Beat, DeadMan
from stopgap.dependency import Ask, Dependencies, Dependency, Watch
from stopgap.duration import span
from stopgap.errors import ProbeError
from stopgap.settings import Settings
from stopgap.store import Store
from stopgap.survey import Flaw, Survey

ASKED_WITHIN = timedelta(seconds=5)  # for Prometheus to answer that it is there
STALE = timedelta(minutes=5)  # surveys are made every two minutes or more often


class Vitals:
    """Owns the watch of the dependencies and the dead man. `ready` says what keeps notifications from being taken, by name."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        context: Context,
        clock: Clock,
        ready: Callable[[], Mapping[str, str]],
    ) -> None:
        self._store = store
        self._ready = ready
        self._clock = clock
        self.on_beat: Callable[[str], None] = lambda _result: None
        self.surveyed: Callable[[], Survey | None] = lambda: None  # the last survey of all Alertmanagers
        asks: dict[Dependency, Ask] = {
            Dependency.STORE: lambda: store.meet((), clock.now())  # a round trip through the writer
        }
        if settings.prometheus:
            asks[Dependency.PROMETHEUS] = lambda: context.prometheus.number("1", ASKED_WITHIN)
        if settings.alertmanager:
            asks[Dependency.ALERTMANAGER] = self._hear
        noted = {Dependency.CONTACTS}
        noted |= {Dependency.HEARTBEAT} if settings.heartbeat_url else set()
        self.dependencies = Dependencies(
            {*asks, *noted}, lambda: {name for book in context.contacts.book.values() for name in book}
        )
        context.contacts.on_told = self.dependencies.told
        self._watch = Watch(self.dependencies, asks)
        self._dead_man: DeadMan | None = None
        if settings.heartbeat_url is not None:
            beacon = Beacon(settings.heartbeat_url, context.http.session)
            self._dead_man = DeadMan(beacon.send, self.alive, self._came, settings.heartbeat_every)

    def begin(self) -> None:
        """Ask, and let it be known, from now on."""
        self._watch.begin()
        if self._dead_man is not None:
            self._dead_man.begin()

    async def stop(self) -> None:
        """Let it be known no more: a stopped daemon takes no notification."""
        if self._dead_man is not None:
            await self._dead_man.stop()
        await self._watch.stop()

    async def alive(self) -> str:
        """Return why notifications could not be taken, judged now, or an empty text."""
        await self._watch.look(Dependency.STORE)
        return "; ".join(f"{name}: {why}" for name, why in self._ready().items() if why)

    def outside(self) -> dict[str, str]:
        """Return by name why each dependency is away, or an empty text."""
        now = {Dependency.STORE.value: self.store_trouble()}
        survey = self.surveyed()
        if survey is not None and survey.heard:
            now[Dependency.ALERTMANAGER.value] = unheard(survey, self._clock.now())
        return self.dependencies.away() | now

    def store_trouble(self) -> str:
        """Return why the store takes nothing: what its last commit said, else what its last round trip did."""
        return self._store.error or self.dependencies.why(Dependency.STORE)

    async def _hear(self) -> None:
        """Judge the last survey of all Alertmanagers. Raises ProbeError that says whom it did not hear."""
        survey = self.surveyed()
        if survey is not None and (why := unheard(survey, self._clock.now())):
            raise ProbeError(why)

    def _came(self, beat: Beat, why: str) -> None:
        self.on_beat(beat.value)
        if beat is not Beat.WITHHELD:
            self.dependencies.note(Dependency.HEARTBEAT, why)


def unheard(survey: Survey, now: datetime) -> str:
    """Return which Alertmanagers a survey did not hear, and why; an old survey heard none."""
    if now - survey.at > STALE:
        return f"none was asked for {span(now - survey.at)}"
    return "; ".join(f"{url}: {said.why}" for url, said in survey.heard.items() if isinstance(said, Flaw))
