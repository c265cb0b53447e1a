"""Stage: the real catalog without its outside: actions and probes are described, checked and judged as ever, and reach nothing.

An action keeps its parameters, words, resources and dangers; what it observes, sets and takes back are values of the Scene, one for
each resource, so that drift and crashes between effect and answer can be played. A `promql` or `alert` probe asks a Prometheus that
answers what the Scene says, and judges by itself.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from stopgap.action import Action, Json, Moment, Params, Restored, Reverted, Settled
from stopgap.catalog import Catalog
from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.errors import PermanentError, ProbeError, TemporaryError
from stopgap.probe import Finding, Probe, Verdict
from stopgap.prometheus import Answer as Vector, Element, Prometheus, RuleAlert, RuleHealth
from stopgap.simulate.scene import START, Crash, Fate, Hidden, On, Scene

Build = Callable[[Context], Catalog]
"""Makes all actions and probes: `stock.build_catalog`."""

BY_THEMSELVES = frozenset({"wait", "manual"})  # actions without an outside: they run as they are
REMEMBERED = 1000  # questions of a probe whose words are kept
_NOTHING = Fate()


class Stage:
    """Everything that plays share, made once; the plays on it come one after the other, each with a `scene` of its own."""

    def __init__(self, build: Build) -> None:
        self.scene = Scene()
        self.on_crash: Callable[[], None] = lambda: None
        http = Http()
        real = build(Context(http, _Scripted(self, http), Contacts()))
        actions: dict[str, Any] = {name: StagedAction(one, self) for name, one in real.actions.items()}
        probes: dict[str, Any] = {name: StagedProbe(one, self) for name, one in real.probes.items()}
        self.catalog = Catalog(actions, probes, real.measure, prompt=True)


class _Scripted(Prometheus):
    """A Prometheus that answers what the scene says; its targets are up where that says nothing."""

    def __init__(self, stage: Stage, http: Http) -> None:
        super().__init__(None, http.session)
        self._stage = stage

    async def query(self, expression: str, *, timeout: timedelta) -> Vector:  # noqa: ARG002, ASYNC109 - the client's signature
        """Return the values that the scene gives a query. Raises ProbeError where it gives none."""
        found = self._stage.scene.queries.of(expression)
        if found is None and expression.startswith("up{"):
            found = (1.0,)
        if found is None:
            raise ProbeError("the scene says nothing of this query")
        return Vector(tuple(Element({}, value) for value in found))

    async def rules(self, timeout: timedelta, name: str | None = None) -> tuple[RuleHealth, ...]:  # noqa: ARG002, ASYNC109 - the same
        """Return one rule that works, with those alerts of its name that fire."""
        firing = self._stage.scene.firing.get(name or "", {})
        alerts = tuple(RuleAlert(labels, "firing") for labels in firing.values())
        state, minute = "firing" if alerts else "inactive", timedelta(minutes=1)
        return (RuleHealth(name or "", "scene", {}, "ok", "", START, START, minute, state, alerts),)


class StagedProbe:
    """A probe that answers what the scene says: a verdict, else a value that it judges itself, else that all is well."""

    def __init__(self, real: Probe[Any], stage: Stage) -> None:
        self._real = real
        self._stage = stage
        self.name, self.after, self.params = real.name, real.after, real.params
        self._said: dict[int, tuple[Params, str]] = {}

    def describe(self, params: Params) -> str:
        """Say in one line what is asked; it is asked again and again."""
        known = self._said.get(id(params))
        if known is not None and known[0] is params:
            return known[1]
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[id(params)] = params, self._real.describe(params)
        return self._said[id(params)][1]

    async def ask(self, params: Params, timeout: timedelta) -> Finding:  # noqa: ASYNC109 - the port's signature
        """Answer from the scene."""
        scene = self._stage.scene
        fact = scene.probes.of(self.describe(params)) if scene.probes else None
        if fact is not None:
            return Finding(fact.verdict, fact.why or f"{self.describe(params)}: {fact.verdict}"[:300])
        if self.name == "alert" or (
            self.name == "promql"
            and scene.queries
            and scene.queries.of(getattr(params, "query", "")) is not None
        ):
            return await self._real.ask(params, timeout)
        return Finding(Verdict.HEALTHY, "as the scene has it")


class StagedAction:
    """An action that changes values of the scene, as far as the scene lets it."""

    def __init__(self, real: Action[Any], stage: Stage) -> None:
        self._real = real
        self._stage = stage
        for name in dir(real):  # be the real action in everything else: words, parameters, resources, danger
            if not name.startswith("_") and not hasattr(StagedAction, name):
                setattr(self, name, getattr(real, name))

    # --- judging ---

    def settled(self, params: Params, before: Json, now: Json) -> Settled:
        """Judge an act of unknown outcome by the values before and now."""
        if not self._real.resource(params):
            return self._real.settled(params, None, None)
        if now is None or _blind(params):
            return Settled.UNCLEAR
        wanted = self._effect(params, before)
        if wanted is None:
            return Settled.NOT_DONE if now == before else Settled.DONE
        if now == before | wanted:
            return Settled.DONE
        return Settled.NOT_DONE if now == before else Settled.UNCLEAR

    def settled_revert(self, params: Params, before: Json, now: Json) -> Settled:
        """Judge a revert of unknown outcome likewise."""
        if now is None or _blind(params):
            return Settled.UNCLEAR
        return Settled.DONE if now == before else Settled.NOT_DONE

    def undo_by_hand(self, params: Params, before: Json) -> str:
        """Say which values a person puts back."""
        if not before:
            return self._real.undo_by_hand(params, before)
        return ", ".join(f"put {resource} back to {value}" for resource, value in before.items())

    def _effect(self, params: Params, before: Json) -> dict[str, Json] | None:
        """Return the values that a run leaves, where the action can say. Raises ActionError as the run would."""
        effect = getattr(self._real, "effect", None)
        values = effect(params, before) if effect is not None else None
        return dict(values) if values is not None else None

    # --- acting ---

    def observes(self, params: Params) -> bool:  # noqa: ARG002 - the port's signature
        """Tell that the scene has values of every resource, of those too that the real action does not look at."""
        return True

    async def observe(self, params: Params, moment: Moment) -> Json:
        """Read the values."""
        await self._meet(self._fate(params, On.OBSERVE))
        scene = self._stage.scene
        if moment.key in scene.hidden:
            return None
        return {resource: scene.observe(resource) for resource in self._real.resource(params)}

    async def run(self, params: Params, before: Json, moment: Moment) -> Json:
        """Set the values."""
        fate = self._fate(params, On.RUN)
        await self._meet(fate)
        scene = self._stage.scene
        scene.turns += 1
        new = self._effect(params, before)
        if new is None:
            mark = f"{self._real.describe(params)} ({scene.turns})"
            new = dict.fromkeys(self._real.resource(params), mark)
        scene.values |= new
        if self._real.name in BY_THEMSELVES:
            await self._real.run(params, before, moment)
        await self._end(fate, moment)
        return new

    async def revert(self, params: Params, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Put back the values that are as the run left them; those that somebody changed meanwhile stay."""
        fate = self._fate(params, On.REVERT)
        await self._meet(fate)
        scene = self._stage.scene
        now = {resource: scene.value(resource) for resource in before}
        ours = receipt or (None if now == before else self._effect(params, before))  # a refused run has none
        back = [
            resource
            for resource, old in before.items()
            if now[resource] != old and (ours is None or _blind(params) or now[resource] == ours[resource])
        ]
        left = [resource for resource, old in before.items() if now[resource] != old and resource not in back]
        scene.values |= {resource: before[resource] for resource in back}
        await self._end(fate, moment)
        said = f"put back: {', '.join(back)}" if back else ""
        if left:
            text = "; ".join(
                filter(None, (f"changed by somebody else and left alone: {', '.join(left)}", said))
            )
            return Reverted(Restored.DRIFTED, text, partly=bool(back))
        return (
            Reverted(Restored.REVERTED, said)
            if back
            else Reverted(Restored.NOTHING, "the old values were in place")
        )

    # --- what the scene wants ---

    def _fate(self, params: Params, on: On) -> Fate:
        facts = self._stage.scene.acts[on]
        if not facts:
            return _NOTHING
        return facts.of(f"{self._real.name}: {self._real.describe(params)}", spend=True) or _NOTHING

    async def _meet(self, fate: Fate) -> None:
        """Let pass what comes before the effect. Raises what the scene wants."""
        if fate.takes:
            await asyncio.sleep(fate.takes.total_seconds())
        if fate.crash is Crash.BEFORE:
            await self._crash()
        if fate.fails:
            raise PermanentError(fate.fails) if fate.permanent else TemporaryError(fate.fails)
        if fate.hidden is Hidden.NOT_DONE:
            raise TimeoutError("the scene hides what became of it")

    async def _end(self, fate: Fate, moment: Moment) -> None:
        """Let pass what comes after the effect. Raises likewise."""
        if fate.crash is Crash.AFTER:
            await self._crash()
        if fate.hidden is Hidden.UNCLEAR:
            self._stage.scene.hidden.add(moment.key)
        if fate.hidden is not None:
            raise TimeoutError("the scene hides what became of it")

    async def _crash(self) -> None:
        self._stage.on_crash()
        await asyncio.Event().wait()  # until the daemon is gone


def _blind(params: Params) -> bool:
    """Tell whether a step of the rule's own has no question that would show what it changed."""
    return "observe" in type(params).model_fields and getattr(params, "observe", None) is None
