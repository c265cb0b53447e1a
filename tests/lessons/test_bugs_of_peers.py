"""Bugs of peers: what others of this kind do wrong, in the order of the lessons; each test says what cannot happen here."""

import asyncio
import math
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs
from tests.desk import HELD, Office
from tests.intake import FakeIntake, FakeTally, alert as am_alert, notification, serving
from tests.journal_examples import HandClock, acting, open_one, opened_journal
from tests.lessons.scenes import (
    JSON,
    acted,
    commanding,
    crowded,
    door,
    firing,
    hosts,
    per_host,
    reasons,
    seen,
)
from tests.rule_files import ENVIRON, SMALLEST, problems, rule as rule_file, write
from tests.virtual import virtually
from tests.world import GENEROUS, MOCK, START, World, alert, probe, rule, step

from stopgap import process
from stopgap.api import mount
from stopgap.config import load
from stopgap.credential import Credential
from stopgap.errors import PermanentError, ProbeError
from stopgap.explain import Explainer
from stopgap.guard import Reason, Refusal
from stopgap.incident import EventKind as K, Phase
from stopgap.ledger import Brake, BrakeScope
from stopgap.probe import Verdict
from stopgap.probes.promql import Promql
from stopgap.prometheus import Answer, Element
from stopgap.rate import Rate
from stopgap.rule import AtOnce, Limits, Mode, ProbeSpec, RungSpec
from stopgap.settings import Settings
from stopgap.terms import Terms
from stopgap.webhook import Limits as Room, Webhook

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DOWN = am_alert(labels={"alertname": "Down", "severity": "critical"})
KICK = RungSpec("kick", do=(step("on", action="kick"),), verify=(probe("ready"),))


async def test_an_alert_that_is_not_on_disk_is_never_acknowledged_nor_its_repeat_taken_for_a_known_one():
    """1. The mark of a duplicate was set before the queue took the alert: a full queue lost it with a 200, and its repeats too."""
    world = await World().start()
    async with door(world) as post:
        world.journal.failing = "disk full"
        assert await post(DOWN) == 503
        world.journal.failing = ""
        assert await post(DOWN) == 200
        await seen(lambda: world.incident.phase is Phase.MITIGATED)


@virtually
async def test_no_later_step_ever_runs_after_a_failed_one():
    """2. The list of actions was worked off to its end whatever became of the first."""
    rung = RungSpec("two", (step(name="one"), step(name="two")), (step("on", action="kick"),))
    world = await World((rule(ladder=(rung,)),)).start()
    world.switch.faults = [PermanentError("no")]
    await world.fire()
    await world.passes(minutes=1)
    assert world.incident.reason == "ladder_exhausted"
    assert (world.switch.log, world.kick.log) == ([], [])


@pytest.mark.parametrize(
    ("end", "seconds", "reason"),
    [("exec sleep 30", 1.5, "unknown_outcome"), ("exit 3", 30, "ladder_exhausted")],
)
async def test_a_command_that_timed_out_or_failed_is_never_run_again_nor_counted_as_a_success(
    tmp_path, end, seconds, reason
):
    """3. A command that ran out of time was run once more, by a shell, and counted as done; an exit code counted as nothing."""
    (tmp_path / "act.sh").write_text(f"echo ran >> {tmp_path}/effects\n{end}\n")
    world = await commanding("sh", str(tmp_path / "act.sh"), seconds=seconds)
    await world.fire()
    await seen(lambda: world.incident.handed_over)
    await world.engine.stop()
    assert world.incident.reason == reason
    assert "mitigated" not in world.words
    assert (tmp_path / "effects").read_text() == "ran\n"


@virtually
async def test_what_was_done_for_one_target_never_throttles_another():
    """4. Whether an alert was new was read from the last run of the whole rule, so that one host kept the others waiting."""
    world = await World((per_host(ladder=(KICK,), limits=Limits()),)).start()
    first, second = hosts(2)
    await world.fire(first)
    await world.settle()
    await world.resolve(first)
    await world.settle()
    await world.fire(first, second)
    await world.settle()
    assert reasons(world) == {"api/h0": "cooldown", "api/h1": ""}
    assert world.kick.log == ["kick", "kick"]


async def test_the_answer_to_a_notification_never_waits_for_the_action_nor_tells_of_its_failure():
    """5. The sender was kept waiting for the command and got a 500 when it failed: it sent again, and the command ran again."""
    world = World((rule(ladder=(RungSpec("m", (step(),)),)),))
    crowd = crowded(world, gate=asyncio.Event(), after_faults=[PermanentError("no")])
    await world.start()
    async with door(world) as post:
        assert await post(DOWN) == 200
        await seen(lambda: crowd.now == 1)
        assert await post(DOWN) == 200
        crowd.gate.set()
        await seen(lambda: world.incident.handed_over)
        assert await post(DOWN) == 200
    assert crowd.log.count("mode=mock") == 1


async def test_a_label_that_differs_within_a_notification_is_never_lost():
    """6. Rules were matched against what all alerts of a group have in common, which is everything but the host."""
    one = rule(match='alertname="HighLatency",instance="api-1:9100"', target=None, per=("instance",))
    world = await World((one,)).start()
    async with door(world) as post:
        common = {"alertname": "HighLatency", "severity": "critical"}
        assert await post(am_alert(0), am_alert(1), commonLabels=common, groupLabels=common) == 200
        await seen(lambda: world.incident.phase is Phase.MITIGATED)
        assert world.incident.target == "api-1:9100/api-1:9100"


@virtually
async def test_fifty_at_once_never_run_more_at_a_time_nor_more_in_an_hour_than_is_allowed():
    """7. The number of running commands was read first and raised later: whoever came in between was let in as well."""
    limits = replace(GENEROUS, budget=Rate(10, HOUR))
    world = World((per_host(limits=limits),))
    crowd = crowded(world, takes=5.0)
    await world.start()
    await world.engine.use(replace(world.engine.rulebook, at_once=AtOnce(actions=3)))
    await world.fire(*hosts(50))
    await world.passes(minutes=5)
    assert (crowd.most, len(crowd.log), len(world.journal.permits)) == (3, 10, 10)


async def test_fifty_requests_in_one_commit_never_take_more_permits_than_there_are(tmp_path):
    """7. The same race, on disk."""
    clock = HandClock()
    limits = replace(GENEROUS, budget=Rate(5, HOUR))
    async with opened_journal("store", tmp_path, clock) as store:
        names = [await open_one(store, clock, str(i), target=f"t{i}") for i in range(50)]
        asked = (acting(clock, name, target=f"t{i}", limits=limits) for i, name in enumerate(names))
        answers = await asyncio.gather(*map(store.append, asked))
    refused = [answer.reason for answer in answers if isinstance(answer, Refusal)]
    assert refused == [Reason.BUDGET_RULE] * 45


async def test_nothing_is_ever_acknowledged_before_it_is_on_disk_nor_piled_up_without_bound():
    """8. A 202 stood before an unbounded queue in memory."""
    intake = FakeIntake(gate=asyncio.Event())
    async with serving(Webhook(intake, FakeTally(), Credential(), Room(bodies=2000)).mount) as (url, session):

        async def post() -> int:
            body = notification(DOWN)
            async with session.post(f"{url}/webhook", data=body, headers=JSON) as answer:
                return answer.status

        posts = [asyncio.create_task(post()) for _ in range(9)]
        early, late = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        assert {task.result() for task in early} == {503}
        intake.gate.set()
        assert 200 in await asyncio.gather(*late)
    assert len(intake.alerts) == sum(task.result() == 200 for task in posts)


async def test_a_sender_that_breaks_off_or_a_listener_that_fails_never_stops_the_service():
    """8. The end of one source of events was the end of the engine."""
    world = await World().start()
    world.engine.subscribe(lambda *_: 1 / 0)
    with capture_logs():
        async with door(world) as post:
            _, writer = await asyncio.open_connection("127.0.0.1", post.port)
            writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\n")
            writer.write(b"Content-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
            await writer.drain()
            writer.transport.abort()
            assert await post(DOWN) == 200
            await seen(lambda: world.incident.phase is Phase.MITIGATED)


@virtually
async def test_a_slow_action_never_keeps_the_other_targets_waiting():
    """8. One playbook that took its time held up all others."""
    slow = per_host("slow", alertname="Slow", ladder=(RungSpec("s", (step(name="slow"),)),))
    world = World((slow, rule(ladder=(KICK,))))
    crowded(world, takes=25.0)
    await world.start()
    await world.fire(alert("Slow", job="api", host="h0"))
    await world.passes(seconds=1)
    await world.fire()
    await world.passes(seconds=1)
    assert world.kick.log == ["kick"]
    assert not world.switch.log


@virtually
async def test_four_hundred_alerts_at_once_never_hang_the_engine():
    """9. Four hundred alerts at once, and the engine answered nobody any more."""
    world = await World((per_host(limits=Limits()), rule("other", match='alertname="Other"'))).start()
    await world.fire(*hosts(400))
    await world.passes(minutes=1)
    assert set(reasons(world).values()) == {"storm"}
    assert [event.kind for event in world.journal.timelines["control"]].count(K.STORM_BEGAN) == 1
    await world.resolve(*hosts(400))
    await world.settle()
    assert not world.engine.incidents
    await world.passes(minutes=16)
    await world.fire(alert("Other"))
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_flapping_alert_never_becomes_a_loop_of_remedies():
    """10. Nothing kept a remedy from being applied again, and again, and again."""
    world = await World((rule(ladder=(KICK,)),)).start()
    kicked = []
    for _ in range(59):
        await world.fire()
        await world.passes(seconds=30)
        await world.resolve()
        await world.passes(seconds=30)
        kicked.append(len(world.kick.log))
    assert (kicked[9], kicked[19], kicked[58]) == (1, 2, 3)


@virtually
async def test_two_rules_never_act_on_one_target_at_the_same_time():
    """10. Nothing locked the target: two remedies got into each other's way."""
    world = World(tuple(rule(name, ladder=(RungSpec("r", (step(name=name),)),)) for name in ("a", "b")))
    crowd = crowded(world, takes=10.0)
    await world.start()
    await world.fire()
    await world.passes(seconds=5)
    assert sorted(state.reason for state in world.engine.incidents.values()) == ["", "target_busy"]
    await world.passes(minutes=1)
    assert (crowd.most, sorted(crowd.log)) == (1, ["a=mock", "b=mock"])


@virtually
async def test_a_restart_never_forgets_what_was_begun_nor_leaves_it_standing_for_ever():
    """10. A restart in the middle lost the run, or left one behind that was neither alive nor over."""
    world = await World().start()
    world.switch.takes = 10.0
    await world.fire()
    await world.passes(seconds=5)
    await world.crash()
    await world.passes(minutes=1)
    assert world.incident.phase is Phase.MITIGATED
    assert set(world.switch.calls.values()) == {1}
    await world.resolve()
    await world.crash()
    await world.passes(minutes=7)
    assert world.outcome() == ["recovered"]
    assert world.switch.values["mode"] == "normal"
    assert (world.engine.incidents, world.journal.held) == ({}, {})


@virtually
async def test_an_alert_that_is_over_never_runs_the_action_of_one_that_fires():
    """11. The message that all was well again ran the action, which deleted what had just become healthy."""
    world = await World().start()
    await world.resolve()
    await world.settle()
    assert not world.timelines
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "migration", START))
    await world.fire()
    await world.settle()
    await world.resolve()
    await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    await world.passes(hours=1)
    assert world.outcome() == ["self_resolved"]
    assert not world.switch.log


@pytest.mark.parametrize(
    "hostile", ["$(touch owned)", "`touch owned`", "a; touch owned", "a\ntouch owned", "-x"]
)
async def test_a_label_never_reaches_a_shell(tmp_path, monkeypatch, hostile):
    """12. A label was pasted into a command line, in the very examples that people copy."""
    monkeypatch.chdir(tmp_path)
    world = await commanding("touch", "begun", "{{ labels.pod }}")
    await world.fire(alert(pod=hostile))
    await seen(lambda: world.incident.handed_over)
    await world.engine.stop()
    assert world.incident.reason == "unsafe_label"
    done = await process.run(["printf", "%s", "--", hostile], timeout=timedelta(seconds=5))
    assert done.stdout.decode() == "--" + hostile
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/-/reload"),
        ("PUT", "/api/v1/brake"),
        ("DELETE", "/api/v1/brake"),
        *(("POST", f"/api/v1/incidents/{HELD}/{order}") for order in ("approve", "revert", "close")),
    ],
)
async def test_a_stranger_never_gives_an_order(method, path):
    """13. Whoever reached the port could reload, and start what they liked."""
    there = Office()
    async with (
        serving(lambda app: mount(app, there.desk)) as (url, session),
        session.request(method, url + path, json={"by": "mallory", "why": "fun"}) as answer,
    ):
        assert answer.status == 401
    assert (there.orders.given, there.engine.brakes, there.logins) == ([], (), 1)


async def test_a_stranger_never_raises_an_alert():
    """13. The same at the door for alerts: with a token it is shut, and beyond this machine it does not open without one."""
    intake, word = FakeIntake(), Credential(SecretStr("s3cret"))
    async with (
        serving(Webhook(intake, FakeTally(), word).mount) as (url, session),
        session.post(f"{url}/webhook", data=notification(DOWN), headers=JSON) as answer,
    ):
        assert answer.status == 401
    assert intake.alerts == []
    with pytest.raises(ValidationError, match="without a webhook token"):
        Settings(listen="0.0.0.0:9797")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(()),
        Answer((Element({}, math.nan),)),
        Answer((Element({}, 1.0),), ("a store did not answer",)),
        ProbeError("Prometheus cannot be asked"),
    ],
    ids=["no data", "NaN", "partial", "away"],
)
@virtually
async def test_missing_data_are_never_taken_for_a_success_nor_for_a_failure(answer):
    """14. No data, or NaN, counted as passed with one and as failed with another."""

    async def query(*_: object, **__: object) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    asks = ProbeSpec("promql", {"query": "up", "is": "== 1"})
    ladder = (replace(MOCK, verify=(asks,)), RungSpec("next", (step(name="next"),)))
    world = World((rule(ladder=ladder),))
    world.catalog.probes["promql"] = Promql(SimpleNamespace(prometheus=SimpleNamespace(query=query)))
    await world.start()
    await world.fire()
    await world.passes(minutes=15)
    assert not {"mitigated", "rung_failed", "revert_started"} & {*world.words}
    assert world.switch.values == {"mode": "mock"}
    assert world.incident.reason == "verdict_unknown"


def test_a_typo_is_never_found_only_when_the_alert_fires(tmp_path):
    """15. A rule with a mistake was loaded, and said so in the night in which it was needed."""
    found = problems(tmp_path, {"p/a.yaml": rule_file("do: [{restrat: 'systemd://x'}]\nhodl: 5m")})
    assert found == [
        "p/a.yaml:4:11: rules[0].do[0].restrat: no action is called `restrat`, did you mean `restart`?",
        "p/a.yaml:5:5: rules[0].hodl: unknown key `hodl`, did you mean `hold`?",
    ]


@virtually
async def test_a_rule_never_needs_an_outage_to_be_tried(tmp_path):
    """15. Rules could not be tested: the first alert was the first test."""
    world = await World((), Terms(Mode.SHADOW)).start()
    text = rule_file(
        "do: [{switch: {to: mock, name: mode}}]\nverify: [{say: ready}]\nguard: {protected: one}"
    )
    await world.engine.use(load(write(tmp_path, {"p/a.yaml": text}), world.catalog, environ=ENVIRON).rulebook)
    await world.fire()
    await world.settle()
    (planned,) = [e.detail for e in world.journal.timelines[world.incident.id] if e.kind is K.SHADOW_PLANNED]
    assert planned["ladder"][0]["steps"] == ["switch: mode to mock"]
    assert planned["refusal"] == "protected_target: one is protected by 'one'"
    assert not world.switch.log


@virtually
async def test_why_nothing_was_done_is_never_left_unsaid():
    """15. Nobody could say why it had not acted."""
    scarce = per_host(limits=replace(GENEROUS, budget=Rate(1, HOUR)))
    world = await World((scarce, rule("web", match='alertname="Down",job="web"'))).start()
    first, second = hosts(2)
    await world.fire(first)
    await world.settle()
    told = await Explainer(world.engine, world.clock, lambda *_: "").alerts((second,))
    (missed,), (course,) = told.alerts[0].missed, told.courses
    assert (missed.rule, missed.matcher, missed.value) == ("test/web", 'job="web"', "api")
    budget = "1 of 1 used in 1h, next free in 1h"
    assert [(one.reason, one.text) for one in course.guards if not one.allows] == [("budget_rule", budget)]
    await world.fire(second)
    await world.settle()
    (refused,) = [e for events in world.journal.timelines.values() for e in events if e.kind is K.REFUSED]
    assert (refused.detail["reason"], refused.detail["text"]) == ("budget_rule", budget)


@virtually
async def test_an_alert_that_lags_behind_the_fix_never_makes_it_act_again():
    """16. An average over ten minutes fires for ten minutes after the fix: the fix was applied again, for data of the past."""
    world = await firing(rule(ladder=(KICK,)))
    for _ in range(9):
        await world.passes(minutes=1)
        await world.fire()
    await world.resolve()
    await world.passes(seconds=5)
    await world.fire()
    await world.settle()
    assert world.incident.reason == "cooldown"
    assert world.kick.log == ["kick"]


@virtually
async def test_a_probe_that_looks_back_is_never_asked_about_the_time_before_the_step():
    """16. The same with the proof: what was measured before the step told that it had not helped."""
    lagging = replace(MOCK, verify=(probe("ready", after=10 * MINUTE, within=12 * MINUTE),))
    world = await firing(
        rule(ladder=(lagging, RungSpec("next", (step(name="next"),)))), ready=Verdict.UNHEALTHY
    )
    await world.passes(minutes=9)
    assert world.say.asked["ready"] == 0
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.passes(minutes=2)
    assert world.incident.phase is Phase.MITIGATED
    assert world.switch.values == {"mode": "mock"}
    assert Promql.after >= 30


@pytest.mark.parametrize("most", ["100%", "250%", "10"])
def test_a_limit_is_never_as_wide_as_everything(tmp_path, most):
    """17. A bound on how much may be changed was 100 % unless somebody wrote less."""
    (found,) = problems(
        tmp_path, {"p/a.yaml": SMALLEST + f"    guard: {{blast_radius: {{total: 10, max: {most}}}}}\n"}
    )
    assert "a limit of 100 % is none" in found


@virtually
async def test_a_rule_without_a_word_about_limits_is_never_without_limits():
    """17. The same for all others: the default bounds, and who wants more has to write it."""
    world = await World((per_host(limits=Limits()),)).start()
    await world.fire(*hosts(9))
    await world.settle()
    assert acted(world) == 3
