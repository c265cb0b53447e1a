"""What a message said is held against what Alertmanager and Prometheus say when they are asked."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from tests.virtual import virtually
from tests.world import MOCK, START, World, alert, probe, rule, step

from stopgap.alert import Alert
from stopgap.errors import StoreError
from stopgap.incident import EventKind as K, Incident, Phase
from stopgap.orders import NotPossible
from stopgap.probe import Verdict
from stopgap.reconciler import Reconciler
from stopgap.rule import Mode, RungSpec
from stopgap.survey import Polled, State, Survey


@dataclass
class Alertmanagers:
    """What all Alertmanagers say; `alerts` are those that fire, by state."""

    world: World
    alerts: dict[str, Polled] = field(default_factory=dict)
    complete: bool = True
    settled: bool = True
    configured: bool = True
    asked: int = 0

    def __bool__(self) -> bool:
        return self.configured

    async def survey(self, receiver: str | None) -> Survey:
        self.asked += 1
        return Survey(
            self.world.clock.now(), {}, self.complete, self.complete and self.settled, dict(self.alerts)
        )

    def show(self, *alerts: Alert, state: State = State.ACTIVE, silenced_by: Iterable[str] = ()) -> None:
        """Show alerts that Prometheus has just sent."""
        now = self.world.clock.now()
        for one in alerts:
            self.alerts[one.fingerprint] = Polled(one, state, tuple(silenced_by), (), ("stopgap",), now)


@dataclass
class Prometheus:
    """What Prometheus says of an incident's alerts."""

    verdict: Verdict = Verdict.UNKNOWN
    asked: int = 0

    async def confirm(self, state: Incident) -> Verdict:
        self.asked += 1
        return self.verdict


@dataclass
class Town:
    """A world with all that can be asked."""

    world: World
    alertmanagers: Alertmanagers
    prometheus: Prometheus | None = None
    receiver: str | None = "stopgap"

    async def watches(self) -> "Town":
        confirm = self.prometheus.confirm if self.prometheus else None
        self.reconciler = Reconciler(
            self.world.engine, self.world.clock, self.alertmanagers, confirm, self.receiver
        )
        self.world.engine.trust(self.reconciler)
        await self.reconciler.start()
        return self

    async def restarts(self, **away: float) -> None:
        await self.reconciler.stop()
        await self.world.passes(**away)
        await self.world.crash()
        await self.watches()


async def town(*rules, prometheus: Prometheus | None = None, **more) -> Town:
    world = World(rules or (rule(),))
    await world.start()
    receiver = more.pop("receiver", "stopgap")
    return await Town(world, Alertmanagers(world, **more), prometheus, receiver).watches()


def details(world: World, kind: K) -> list[dict]:
    return [e.detail for e in world.journal.timelines[world.incident.id] if e.kind is kind]


# --- messages that were lost ---


@virtually
async def test_a_firing_that_no_message_told_of_is_found_and_acted_upon():
    there = await town()
    await there.world.passes(seconds=1)
    there.alertmanagers.show(alert())
    await there.world.passes(seconds=31)
    assert there.world.incident.phase is Phase.MITIGATED
    assert details(there.world, K.OPENED)[0]["by"] == "alertmanager"


@pytest.mark.parametrize("state", [State.SUPPRESSED, State.UNPROCESSED])
@virtually
async def test_only_what_is_active_may_open_an_incident(state):
    there = await town()
    there.alertmanagers.show(alert(), state=state)
    await there.world.passes(minutes=2)
    assert not there.world.engine.incidents


@virtually
async def test_without_our_receivers_name_nothing_is_opened_and_what_is_over_is_still_found():
    there = await town(receiver=None)
    there.alertmanagers.show(alert())
    await there.world.passes(minutes=2)
    assert not there.world.engine.incidents
    await there.world.fire()
    there.alertmanagers.alerts.clear()
    await there.world.passes(minutes=8)
    assert there.world.outcome() == ["recovered"]


@virtually
async def test_a_resolved_that_no_message_told_of_is_believed_after_three_surveys():
    there = await town()
    await there.world.fire()
    there.alertmanagers.show(alert())
    await there.world.passes(seconds=45)
    there.alertmanagers.alerts.clear()
    await there.world.passes(seconds=61)
    assert there.world.incident.firing
    await there.world.passes(seconds=30)
    assert not there.world.incident.firing
    assert details(there.world, K.ALERT_RESOLVED)[0]["by"] == "alertmanager"


@virtually
async def test_an_alert_that_is_seen_in_between_is_not_over():
    there = await town()
    await there.world.fire()
    for _ in range(5):
        there.alertmanagers.alerts.clear()
        await there.world.passes(seconds=60)
        there.alertmanagers.show(alert())
        await there.world.passes(seconds=30)
    assert there.world.incident.firing


@pytest.mark.parametrize("flaw", [{"complete": False}, {"settled": False}])
@virtually
async def test_nothing_is_over_because_an_alertmanager_is_away_or_has_just_started(flaw):
    there = await town(**flaw)
    await there.world.fire()
    await there.world.passes(minutes=10)
    assert there.world.incident.firing


@virtually
async def test_a_message_of_the_end_that_overtakes_a_survey_is_believed():
    there = await town()
    await there.world.fire()
    there.alertmanagers.show(alert())
    survey = there.alertmanagers.survey

    async def slow(receiver):
        said = await survey(receiver)
        await there.world.passes(seconds=5)
        return said

    there.alertmanagers.survey = slow
    await there.world.passes(seconds=28)
    await there.world.resolve()
    await there.world.passes(seconds=6)
    assert not there.world.incident.firing


@virtually
async def test_what_a_notification_left_out_is_asked_for_at_once():
    there = await town(receiver=None)
    await there.world.passes(seconds=1)
    asked = there.alertmanagers.asked
    there.alertmanagers.show(alert())
    there.reconciler.heard("stopgap \\(eu\\)", 0)
    assert there.reconciler.receiver == "stopgap (eu)"
    await there.world.passes(seconds=1)
    assert there.alertmanagers.asked == asked
    there.reconciler.heard("another", 3)
    await there.world.passes(seconds=1)
    assert there.reconciler.receiver == "stopgap (eu)"
    assert there.world.incident.firing


# --- what a restart finds ---


@virtually
async def test_what_waited_before_a_restart_acts_once_alertmanager_confirms_it():
    there = await town()
    there.world.say.verdicts["x"] = Verdict.HEALTHY
    await there.world.engine.brake(_brake())
    await there.world.fire()
    await there.world.settle()
    there.alertmanagers.complete = False
    await there.restarts(hours=1)
    await there.world.engine.release(_brake().scope, "", "ann")
    await there.world.passes(seconds=40)
    assert there.world.incident.reason == "reconciling"
    there.alertmanagers.complete = True
    there.alertmanagers.show(alert())
    await there.world.passes(seconds=31)
    assert there.world.incident.phase is Phase.MITIGATED


def _brake():
    from stopgap.ledger import Brake, BrakeScope

    return Brake(BrakeScope.GLOBAL, "", "ann", "migration", START)


@virtually
async def test_down_while_the_alert_ends_it_takes_back_on_return():
    there = await town()
    await there.world.fire()
    there.alertmanagers.show(alert())
    await there.world.settle()
    there.alertmanagers.alerts.clear()
    await there.restarts(minutes=20)
    await there.world.passes(minutes=8)
    assert there.world.outcome() == ["recovered"]
    assert there.world.switch.values["mode"] == "normal"


@virtually
async def test_down_while_it_fires_it_acts_on_return():
    there = await town()
    there.alertmanagers.show(alert())
    await there.restarts(minutes=20)
    await there.world.passes(seconds=1)
    assert there.world.incident.phase is Phase.MITIGATED


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [(Verdict.UNHEALTHY, ""), (Verdict.UNKNOWN, "reconciling"), (Verdict.HEALTHY, "reconciling")],
)
@virtually
async def test_where_alertmanager_stays_away_prometheus_alone_can_confirm(verdict, reason):
    there = await town(prometheus=Prometheus())
    there.prometheus.verdict = verdict
    await _waiting(there)
    there.alertmanagers.complete = False
    await there.restarts(minutes=1)
    await there.world.passes(seconds=50)
    assert there.world.incident.reason == "reconciling"
    assert there.prometheus.asked == 0
    await there.world.passes(seconds=30)
    assert there.world.incident.reason == reason


async def _waiting(there: Town) -> None:
    await there.world.engine.brake(_brake())
    await there.world.fire()
    await there.world.settle()
    await there.world.engine.journal.release(_brake().scope, "", "ann", there.world.clock.now())


@pytest.mark.parametrize(
    ("verdict", "phase"),
    [(Verdict.UNHEALTHY, Phase.MITIGATED), (Verdict.HEALTHY, None), (Verdict.UNKNOWN, Phase.WAITING)],
)
@virtually
async def test_without_alertmanagers_prometheus_alone_decides(verdict, phase):
    there = await town(prometheus=Prometheus(verdict), configured=False)
    await _waiting(there)
    await there.restarts(minutes=1)
    await there.world.passes(seconds=31)
    found = [state.phase for state in there.world.engine.incidents.values()]
    assert found == ([phase] if phase else [])
    assert there.alertmanagers.asked == 0


@virtually
async def test_where_nobody_can_be_asked_nothing_is_doubted():
    there = await town(configured=False)
    await _waiting(there)
    await there.restarts(minutes=1)
    await there.world.settle()
    assert there.world.incident.phase is Phase.MITIGATED


# --- old messages ---


async def _closed(there: Town) -> None:
    await there.world.fire()
    await there.world.settle()
    await there.world.resolve()
    await there.world.passes(minutes=6)
    assert there.world.outcome() == ["recovered"]
    there.alertmanagers.alerts.clear()


@virtually
async def test_a_stale_firing_of_an_episode_that_is_over_is_not_acted_upon():
    there = await town()
    await _closed(there)
    await there.world.fire()
    await there.world.settle()
    assert there.world.incident.reason == "reconciling"
    await there.world.passes(minutes=2)
    assert not there.world.engine.incidents
    assert there.world.outcome() == ["recovered", "self_resolved"]


@virtually
async def test_an_older_start_than_the_one_that_is_over_is_as_stale():
    there = await town()
    await _closed(there)
    await there.world.fire(replace(alert(), starts_at=START - timedelta(minutes=5)))
    await there.world.settle()
    assert there.world.incident.reason == "reconciling"


@virtually
async def test_an_alert_that_fires_again_for_real_is_confirmed_by_the_next_survey():
    there = await town()
    await _closed(there)
    await there.world.fire()
    there.alertmanagers.show(alert())
    await there.world.passes(seconds=31)
    assert there.world.incident.phase is Phase.MITIGATED


@virtually
async def test_an_alertmanager_that_slept_through_the_end_confirms_nothing_until_it_is_sent_again():
    there = await town()
    there.alertmanagers.show(alert())
    await there.world.fire()
    await there.world.settle()
    await there.world.resolve()
    await there.world.passes(minutes=10)
    assert there.world.outcome() == ["recovered"]
    await there.world.fire()
    await there.world.passes(minutes=2)
    assert there.world.incident.reason == "reconciling"
    there.alertmanagers.show(alert())
    await there.world.passes(seconds=31)
    assert there.world.incident.phase is Phase.MITIGATED


@virtually
async def test_an_alertmanager_that_slept_through_the_end_makes_nothing_fire_again():
    there = await town()
    there.alertmanagers.show(alert())
    await there.world.fire()
    await there.world.settle()
    await there.world.resolve()
    await there.world.passes(minutes=2)
    assert there.world.incident.phase is Phase.RECOVERING
    assert "refired" not in there.world.words


@virtually
async def test_an_old_message_that_comes_twice_is_still_old_while_alertmanagers_answer():
    there = await town()
    await _closed(there)
    there.alertmanagers.settled = False
    for _ in range(2):
        await there.world.fire()
        await there.world.settle()
    assert there.world.incident.reason == "reconciling"
    there.alertmanagers.complete = False
    await there.world.passes(minutes=2)
    await there.world.fire()
    await there.world.settle()
    assert there.world.incident.phase is Phase.MITIGATED


@virtually
async def test_without_alertmanagers_a_second_notification_confirms_it():
    there = await town(configured=False)
    await _closed(there)
    await there.world.fire()
    await there.world.passes(minutes=1)
    assert there.world.incident.reason == "reconciling"
    await there.world.fire()
    await there.world.settle()
    assert there.world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_new_episode_is_not_doubted():
    there = await town(configured=False)
    await _closed(there)
    await there.world.fire(replace(alert(), starts_at=START + timedelta(minutes=5)))
    await there.world.settle()
    assert there.world.incident.phase is Phase.MITIGATED


@virtually
async def test_no_more_ended_episodes_are_remembered_than_told(monkeypatch):
    monkeypatch.setattr("stopgap.reconciler.REMEMBERED", 1)
    there = await town(configured=False)
    for name in ("one", "two"):
        await there.world.fire(alert(host=name))
        await there.world.settle()
        await there.world.resolve(alert(host=name))
        await there.world.passes(minutes=6)
    assert len(there.reconciler._ended) == 1


# --- silences ---


@virtually
async def test_a_silence_is_a_hand_raised_for_what_waits_and_leaves_what_is_held():
    other = RungSpec("other", do=(step(name="other"),))
    there = await town(rule(), rule("slow", match='alertname="Slow"', target="db", ladder=(other,)))
    await there.world.fire()
    await there.world.settle()
    there.alertmanagers.show(alert(), alert("Slow"), state=State.SUPPRESSED, silenced_by=("s1",))
    await there.world.passes(seconds=31)
    await there.world.fire(alert("Slow"))
    await there.world.passes(seconds=31)
    by_rule = {state.rule: state for state in there.world.engine.incidents.values()}
    assert by_rule["test/slow"].reason == "silenced"
    assert by_rule["test/mock"].phase is Phase.MITIGATED
    there.alertmanagers.show(alert("Slow"))
    await there.world.passes(seconds=31)
    assert there.world.engine.incidents[by_rule["test/slow"].id].rungs


@virtually
async def test_an_inhibited_alert_is_not_silenced():
    there = await town()
    there.alertmanagers.show(alert(), state=State.SUPPRESSED)
    await there.world.passes(seconds=31)
    await there.world.fire()
    await there.world.settle()
    assert there.world.incident.phase is Phase.MITIGATED


# --- trouble ---


@virtually
async def test_a_poll_that_goes_wrong_is_not_the_last(monkeypatch):
    there = await town()
    receive, failures = there.world.engine.receive, [StoreError("full"), RuntimeError("a fault")]

    async def failing(alerts, by="", **more):
        if failures:
            raise failures.pop()
        return await receive(alerts, by, **more)

    await there.world.passes(seconds=1)
    monkeypatch.setattr(there.world.engine, "receive", failing)
    there.alertmanagers.show(alert())
    await there.world.passes(seconds=61)
    assert not there.world.engine.incidents
    await there.world.passes(seconds=30)
    assert there.world.incident.rungs


@virtually
async def test_what_changes_nothing_is_not_logged_at_each_survey():
    there = await town()
    there.alertmanagers.show(alert(), alert("Watchdog"))
    with capture_logs() as said:
        await there.world.passes(minutes=5)
    assert [line["event"] for line in said if line["event"] == "reconciled"] == ["reconciled"]


@virtually
async def test_it_asks_as_often_as_it_is_told():
    there = await town()
    await there.reconciler.stop()
    every = timedelta(seconds=5)
    quick = Reconciler(there.world.engine, there.world.clock, there.alertmanagers, None, None, every=every)
    asked = there.alertmanagers.asked
    await quick.start()
    await there.world.passes(seconds=21)
    await quick.stop()
    assert there.alertmanagers.asked == asked + 5


@virtually
async def test_nothing_is_asked_after_the_stop():
    there = await town()
    await there.reconciler.stop()
    asked = there.alertmanagers.asked
    await there.world.passes(minutes=5)
    assert there.alertmanagers.asked == asked
    await Reconciler(there.world.engine, there.world.clock, there.alertmanagers, None, None).stop()


@pytest.mark.parametrize("verdict", list(Verdict))
@virtually
async def test_prometheus_is_asked_about_all_alerts_of_an_incident(verdict):
    world = await World().start()
    await world.fire(alert(), alert("Down", host="b"))
    await world.settle()
    world.say.verdicts["Down"] = verdict
    assert await world.engine.performer.over(world.incident) is verdict


@virtually
async def test_an_alert_without_a_name_cannot_be_asked_about():
    nameless = alert()
    nameless = replace(nameless, labels={"job": "api"})
    world = await World((rule(match='job="api"', recovered=()),)).start()
    await world.fire(nameless)
    await world.settle()
    assert await world.engine.performer.over(world.incident) is Verdict.UNKNOWN
    await world.resolve(nameless)
    await world.passes(hours=1)
    assert world.incident.unproven


# --- the first start ---


@virtually
async def test_what_fired_before_the_first_start_is_held_in_shadow_until_a_person_adopts_it():
    world = await World().start()
    there = Town(world, Alertmanagers(world))
    there.alertmanagers.show(alert())
    await there.watches()
    await world.passes(seconds=1)
    assert world.incident.mode == "shadow"
    assert not world.switch.calls
    (planned,) = details(world, K.SHADOW_PLANNED)
    assert planned["because"].startswith("it fired before the first start")
    await world.orders.adopt(world.incident.id, "ann", "nobody has touched it")
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_what_fires_after_the_first_survey_is_acted_upon_at_once():
    there = await town()
    await there.world.passes(seconds=1)
    there.alertmanagers.show(alert())
    await there.world.passes(seconds=31)
    assert there.world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_store_that_knows_of_incidents_is_not_new():
    there = await town()
    await _closed(there)
    there.alertmanagers.show(alert("Other"), alert(host="b"))
    await there.restarts(seconds=1)
    assert not there.world.engine.fresh
    await there.world.passes(seconds=1)
    assert there.world.incident.mode == "auto"


@pytest.mark.parametrize(
    ("mode", "why"), [("auto", "not held in shadow"), ("shadow", "would change nothing")]
)
@virtually
async def test_only_what_may_act_can_be_adopted(mode, why):
    world = await World((rule(mode=Mode(mode)),)).start()
    await world.fire()
    await world.settle()
    with pytest.raises(NotPossible, match=why):
        await world.orders.adopt(world.incident.id, "ann", "go")


@virtually
async def test_a_note_is_a_line_and_changes_nothing():
    world = await World().start()
    await world.fire()
    await world.settle()
    before = world.incident
    await world.orders.note(world.incident.id, "ann", "the vendor was called")
    assert details(world, K.NOTE_ADDED) == [{"by": "ann", "text": "the vendor was called"}]
    assert replace(world.incident, seq=before.seq) == before


# --- what a review found ---


@pytest.mark.parametrize("flaw", ["complete", "settled"])
@virtually
async def test_an_alertmanager_that_is_away_or_has_just_started_lifts_no_silence(flaw):
    there = await town()
    there.alertmanagers.show(alert(), state=State.SUPPRESSED, silenced_by=("s1",))
    await there.world.passes(seconds=1)
    await there.world.fire()
    await there.world.passes(seconds=31)
    assert there.world.incident.reason == "silenced"
    setattr(there.alertmanagers, flaw, False)
    there.alertmanagers.alerts.clear()
    await there.world.passes(minutes=10)
    assert not there.world.incident.rungs
    there.alertmanagers.show(alert())
    await there.world.passes(seconds=31)
    assert there.world.incident.rungs


@pytest.mark.parametrize("flaw", [{"receiver": None}, {"settled": False}])
@virtually
async def test_a_first_survey_that_proves_nothing_does_not_end_the_care_of_a_first_start(flaw):
    there = await town(**flaw)
    await there.world.passes(seconds=1)
    there.reconciler.heard("stopgap", 0)
    there.alertmanagers.show(alert())
    await there.world.passes(seconds=31)
    assert there.world.incident.mode == "shadow"


@virtually
async def test_no_further_rung_is_begun_on_a_claim_of_before_the_restart():
    failing = RungSpec("first", do=(step(name="one"),), verify=(probe("first"),))
    there = await town(rule(ladder=(failing, MOCK)))
    there.world.say.verdicts["first"] = Verdict.UNHEALTHY
    await there.world.fire()
    await there.world.passes(seconds=10)
    there.alertmanagers.complete = False
    await there.restarts(seconds=1)
    await there.world.passes(minutes=5)
    assert there.world.incident.reason == "reconciling"
    there.alertmanagers.complete = True
    there.alertmanagers.show(alert())
    await there.world.passes(minutes=1)
    assert there.world.incident.phase is Phase.MITIGATED


@virtually
async def test_one_question_that_raises_keeps_no_other_in_doubt():
    other = RungSpec("other", do=(step(name="other"),))
    there = await town(
        rule(),
        rule("slow", match='alertname="Slow"', target="db", ladder=(other,)),
        prometheus=Prometheus(Verdict.UNHEALTHY),
        configured=False,
    )
    await there.world.engine.brake(_brake())
    await there.world.fire(alert(), alert("Slow"))
    await there.world.settle()
    await there.world.engine.journal.release(_brake().scope, "", "ann", there.world.clock.now())
    confirm = there.prometheus.confirm

    async def faulty(state):
        if state.target == "db":
            raise RuntimeError("a fault")
        return await confirm(state)

    there.prometheus.confirm = faulty
    await there.restarts(minutes=1)
    await there.world.passes(seconds=31)
    reasons = {state.target: state.reason for state in there.world.engine.incidents.values()}
    assert reasons == {"app": "", "db": "reconciling"}


@virtually
async def test_a_new_alert_that_joins_ends_the_doubt():
    there = await town(configured=False)
    await _closed(there)
    await there.world.fire()
    await there.world.settle()
    assert there.world.incident.reason == "reconciling"
    later = there.world.clock.now()
    await there.world.fire(replace(alert(host="b"), starts_at=later))
    await there.world.settle()
    assert there.world.incident.phase is Phase.MITIGATED


@virtually
async def test_what_is_recovering_at_a_restart_is_not_doubted():
    there = await town()
    await there.world.fire()
    await there.world.settle()
    await there.world.resolve()
    await there.restarts(seconds=1)
    assert there.reconciler.doubt(there.world.incident.id) == ""


@virtually
async def test_an_alert_that_is_told_of_while_prometheus_is_asked_is_not_over_by_its_answer():
    there = await town(prometheus=Prometheus(Verdict.HEALTHY), configured=False)
    await _closed(there)
    confirm = there.prometheus.confirm

    async def slowly(state):
        said = await confirm(state)
        await there.world.passes(seconds=3)
        return said

    there.reconciler._confirm = slowly
    await there.world.fire()
    while not there.prometheus.asked:
        await there.world.passes(seconds=1)
    await there.world.fire()  # Prometheus has begun to send it since it was asked
    await there.world.passes(seconds=5)
    assert there.world.incident.firing
