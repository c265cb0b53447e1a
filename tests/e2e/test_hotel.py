"""Real Prometheus → real Alertmanager → a real daemon with the shipped pack → the hotel, and back. One lab, one daemon for all."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from tests.e2e.harness import Stand, Told, standing

from stopgap.demo.lab import Lab

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("lab")]

PMS = "PMSCircuitBreakerOpen"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with standing(tmp_path_factory.mktemp("e2e")) as running:
        yield running


@dataclass(frozen=True)
class Trouble:
    """One way to break the hotel, what the pack does about it, and how the cause goes away."""

    alert: str
    rule: str
    begin: Callable[[Lab], Awaitable[None]]
    end: Callable[[Lab], Awaitable[None]] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


TROUBLES = (
    Trouble(PMS, "pms-mock-mode", Lab.break_pms, Lab.heal_pms, {"PMS_TYPE": "mock"}),
    Trouble("DatabaseDown", "database-restart", Lab.kill_database),
    Trouble(
        "HighLatency",
        "latency-relief",
        Lab.slow_pms,
        Lab.speed_pms,
        {"PMS_CACHE_TTL_SECONDS": "300", "AUDIO_ENABLED": "false"},
    ),
    Trouble("RateLimitSpike", "traffic-headroom", Lab.surge, Lab.calm, {"RATE_LIMIT_PER_MINUTE": "300"}),
)


def events(told: Told) -> list[str]:
    return [line["event"] for line in told["timeline"]]


async def is_in(stand: Stand, rule: str, *phases: str) -> bool:
    """Tell whether the newest incident of a rule is in one of these phases."""
    incidents = await stand.incidents(rule)
    return bool(incidents) and incidents[-1]["phase"] in phases


async def stays_held(stand: Stand, trouble: Trouble, seconds: float = 3) -> None:
    """See that a silent alert takes nothing back while its cause lasts."""
    await asyncio.sleep(seconds)
    (told,) = await stand.incidents(trouble.rule)
    assert told["phase"] == "recovering"
    asked = [line["event"] for line in told["timeline"] if line.get("role") == "recovered"]
    assert "probe_unhealthy" in asked
    assert "revert_started" not in events(told)
    assert trouble.settings.items() <= (await stand.settings()).items()


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.alert)
async def test_each_alert_is_mitigated_outlasts_its_own_silence_and_goes_back(
    stand: Stand, trouble: Trouble
) -> None:
    file, former, pids = stand.lab.env_bytes(), await stand.settings(), await stand.lab.pids()
    await trouble.begin(stand.lab)
    await stand.comes("alert", lambda: stand.fires(trouble.alert))
    if trouble.end is not None:
        await stand.comes("silent alert", lambda: is_in(stand, trouble.rule, "recovering"), 60)
        assert trouble.settings.items() <= (await stand.settings()).items(), (
            "the process goes by the new settings"
        )
        assert not await stand.fires(trouble.alert)
        await stays_held(stand, trouble)
        await trouble.end(stand.lab)
    await stand.comes("end", lambda: is_in(stand, trouble.rule, "closed"), 60)

    (told,) = await stand.incidents(trouble.rule)
    assert told["outcome"] == "recovered"
    assert (told["held"], stand.held()) == ([], [])
    assert "handed_over" not in events(told)
    assert len(told["alerts"]) == 1
    assert stand.lab.env_bytes() == file
    assert await stand.settings() == former
    now = await stand.lab.pids()
    restarted = {name for name in pids if now[name] != pids[name]}
    assert restarted == ({"postgres"} if trouble.end is None else {"hotel"})


async def test_metrics_and_log_say_what_the_timelines_say(stand: Stand) -> None:
    incidents = await stand.daemon.incidents()
    lines = [line for told in incidents for line in told["timeline"]]
    assert {told["rule"] for told in incidents} == {f"agente-hotel/{trouble.rule}" for trouble in TROUBLES}
    for told in incidents:
        rule = told["rule"]
        assert await stand.metric("stopgap_incidents_opened_total", rule=rule) == 1
        assert await stand.metric("stopgap_incidents_closed_total", rule=rule, outcome="recovered") == 1
        assert await stand.metric("stopgap_mitigations_held", rule=rule) == 0
        reverted = events(told).count("step_reverted")
        assert await stand.metric("stopgap_reverts_total", rule=rule, result="reverted") == reverted
        assert await stand.metric("stopgap_alerts_matched_total", rule=rule) >= 2
    done = Counter(line["action"] for line in lines if line["event"] == "step_succeeded")
    for action, count in done.items():
        assert await stand.metric("stopgap_actions_total", action=action, result="succeeded") == count
        assert await stand.metric("stopgap_actions_total", action=action, result="failed") == 0
    assert await stand.metric("stopgap_alert_to_action_seconds_count") == len(incidents)
    assert await stand.metric("stopgap_notifications_total", code="200") >= 2 * len(incidents)
    told_people = [line for line in lines if line["event"] == "notified"]
    assert len(told_people) == len(stand.pager.told) > 0
    assert stand.logged() == Counter(
        (told["id"], line["seq"]) for told in incidents for line in told["timeline"]
    )


async def test_promtool_has_nothing_to_say_about_the_metrics(stand: Stand) -> None:
    text = await stand.daemon.metrics()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.fixture
def broken_at(stand: Stand) -> Iterator[str]:
    """Break a rule file; give the place of the mistake."""
    path = stand.daemon.rules / "agente-hotel" / "pms.yaml"
    good = path.read_text()
    line = next(n for n, text in enumerate(good.splitlines(), 1) if "max_hold:" in text)
    path.write_text(good.replace("max_hold:", "max_hodl:"))
    yield f"pms.yaml:{line}:5: "
    path.write_text(good)


async def test_a_broken_file_keeps_the_old_rules_and_is_named_in_log_metric_and_answer(
    stand: Stand, broken_at: str
) -> None:
    before = await stand.daemon.ask("/api/v1/rules")

    async def is_said() -> bool:
        return await stand.metric("stopgap_config_last_reload_successful") == 0

    assert stand.daemon.pid is not None
    os.kill(stand.daemon.pid, signal.SIGHUP)
    await stand.comes("word of the mistake", is_said)
    assert await stand.daemon.ask("/api/v1/rules") == before
    (logged,) = [line for line in stand.log() if line["event"] == "reload_failed"]
    status, answer = await stand.answer("POST", "/-/reload", token=stand.token)
    assert status == 422
    for said in (str(logged["problems"]), answer):
        assert broken_at in said
        assert "did you mean `max_hold`?" in said


async def test_a_mended_file_is_taken(stand: Stand) -> None:
    assert (await stand.answer("POST", "/-/reload", token=stand.token))[0] == 200
    assert await stand.metric("stopgap_config_last_reload_successful") == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/incidents"),
        ("PUT", "/api/v1/brake"),
        ("POST", "/-/reload"),
        ("POST", "/webhook"),
    ],
)
async def test_a_wrong_token_is_refused_everywhere(stand: Stand, method: str, path: str) -> None:
    for token in (None, "", "wrong", f"{stand.token}x", "é"):
        status, answer = await stand.answer(method, path, token=token, body={"by": "x", "why": "y"})
        assert status == 401
        assert stand.token not in answer
        assert stand.lab.token not in answer
    assert (await stand.daemon.ask("/api/v1/brake"))["brakes"] == []


async def test_neither_token_opens_the_other_door(stand: Stand) -> None:
    assert (await stand.answer("GET", "/api/v1/incidents", token=stand.lab.token))[0] == 401
    assert (await stand.answer("POST", "/webhook", token=stand.token, body={}))[0] == 401


async def test_a_brake_stops_a_mitigation_and_survives_a_restart_of_the_daemon(stand: Stand) -> None:
    file, former = stand.lab.env_bytes(), await stand.lab.hotel_mode()
    past = len(await stand.incidents("pms-mock-mode"))
    braked = await asyncio.to_thread(stand.cli, "brake", "on", "--why", "let me look first")
    assert braked.returncode == 0, braked.stderr
    await stand.lab.break_pms()

    async def waits() -> bool:
        newest = (await stand.incidents("pms-mock-mode"))[past:]
        return [told["reason"] for told in newest] == ["brake"]

    await stand.comes("braked incident", waits)
    assert await stand.daemon.stop() == 0
    await stand.daemon.start()
    await asyncio.sleep(2)
    assert await waits()
    assert await stand.metric("stopgap_brake_engaged", scope="global") == 1
    assert (stand.lab.env_bytes(), stand.held()) == (file, [])
    assert (await stand.lab.hotel_mode())["pid"] == former["pid"], "nothing was restarted"

    released = await asyncio.to_thread(stand.cli, "brake", "off")
    assert released.returncode == 0, released.stderr
    await stand.comes("mitigation", lambda: is_in(stand, "pms-mock-mode", "mitigated", "recovering"))
    await stand.lab.heal_pms()
    await stand.comes("end", lambda: is_in(stand, "pms-mock-mode", "closed"), 60)
    (told,) = (await stand.incidents("pms-mock-mode"))[past:]
    assert told["outcome"] == "recovered"
    assert events(told).count("rung_started") == 1
    assert stand.lab.env_bytes() == file
    assert await stand.settings() == former["settings"]
