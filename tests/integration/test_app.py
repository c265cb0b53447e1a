"""The whole daemon in one process: what arrives by HTTP, what it does to a file, and what it answers."""

import asyncio
import gc
import io
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs
from tests.prometheus_server import free_port

from stopgap.app import App, settle_memory
from stopgap.errors import ConfigError
from stopgap.settings import Settings

RULES = """
rules:
  - name: mock
    match: alertname="Down"
    do:
      - exec: {{argv: [sh, "{folder}/count.sh"], revert: [sh, "{folder}/count.sh"]}}
    verify:
      - {{exec: {{argv: ["true"]}}, every: 100ms}}
    recovered:
      - {{exec: {{argv: ["true"]}}, every: 100ms}}
    hold: 200ms
"""


@asynccontextmanager
async def daemon(folder: Path, rules: str = RULES, **more):
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules" / "shop.yaml").write_text(rules.format(folder=folder))
    (folder / "count.sh").write_text(f'echo "$STOPGAP_IDEMPOTENCY_KEY" >> {folder}/effects\n')
    listen = f"127.0.0.1:{free_port()}"
    app = App(
        Settings(rules=folder / "rules", data=folder / "data", listen=listen, control_token="word", **more)
    )
    await app.start()
    thresholds = gc.get_threshold()
    settle_memory()  # as the daemon does
    headers = {"Authorization": "Bearer word"}
    try:
        async with aiohttp.ClientSession(f"http://{listen}", headers=headers) as session:
            app.session = session
            yield app
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        await app.stop()
        await asyncio.sleep(0.05)  # closed connections say goodbye in the next turns of the loop


def body(*alerts: dict, group: str = "{}") -> dict:
    return {
        "version": "4",
        "receiver": "stopgap",
        "groupKey": group,
        "truncatedAlerts": 0,
        "alerts": list(alerts),
    }


def down(status: str = "firing", **labels: str) -> dict:
    ends_at = "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-21T09:01:00Z"
    found = {"alertname": "Down", "job": "shop", **labels}
    starts_at = "2026-11-21T09:00:00Z"
    return {"status": status, "labels": found, "annotations": {}, "startsAt": starts_at, "endsAt": ends_at}


async def post(app: App, notification: dict) -> int:
    async with app.session.post("/webhook", json=notification, headers={"Authorization": ""}) as answer:
        return answer.status


async def incidents(app: App) -> list[dict]:
    async with app.session.get("/api/v1/incidents") as answer:
        return (await answer.json())["incidents"]


async def until(app: App, phase: str) -> list[dict]:
    for _ in range(200):
        found = await incidents(app)
        if found and all(i["phase"] == phase for i in found):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(found)


def effects(folder: Path) -> list[str]:
    file = folder / "effects"
    return file.read_text().splitlines() if file.exists() else []


async def test_fifty_copies_at_once_a_repeat_and_a_second_group_give_one_incident_and_one_action(tmp_path):
    async with daemon(tmp_path) as app:
        answers = await asyncio.gather(*(post(app, body(down())) for _ in range(50)))
        assert answers == [200] * 50
        assert await post(app, body(down(), group='{}/{a="b"}')) == 200
        (incident,) = await until(app, "mitigated")
        assert await post(app, body(down())) == 200
        await asyncio.sleep(0.2)
        assert len(effects(tmp_path)) == 1
        assert await post(app, body(down("resolved"), group='{}/{a="b"}')) == 200
        assert await post(app, body(down("resolved"))) == 200
        (closed,) = await until(app, "closed")
        assert closed["id"] == incident["id"]
        assert closed["outcome"] == "recovered"
        assert len(effects(tmp_path)) == 2


@asynccontextmanager
async def watched():
    """Yield a list that fills with how long the event loop's thread worked in one go, in seconds of its own CPU time.

    The wall clock would say how busy the machine is with everything else, too.
    """
    lags: list[float] = []

    async def watch():
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            lags.append(time.thread_time() - began)
            await asyncio.sleep(0.002)

    watching = asyncio.create_task(watch())
    try:
        yield lags
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def post_bytes(app: App, data: bytes) -> int:
    headers = {"Content-Type": "application/json", "Authorization": ""}
    async with app.session.post("/webhook", data=io.BytesIO(data), headers=headers) as answer:
        return answer.status


async def test_ten_thousand_alerts_in_one_body_are_answered_and_never_stall_the_loop(tmp_path):
    rules = (
        'rules: [{{name: tell, match: alertname="Down", ladder: [], target: "{{{{ labels.instance }}}}"}}]'
    )
    data = json.dumps(body(*(down(instance=f"node{i}:9100", zone="x" * 320) for i in range(10_000)))).encode()
    assert len(data) > 5_000_000
    async with daemon(tmp_path, rules) as app, watched() as lags:
        assert await post_bytes(app, data) == 200
        await asyncio.sleep(1)
        assert len(app.engine.incidents) == 10_000
        assert max(lags) < 0.1, sorted(lags)[-5:]


async def test_thousands_of_alerts_of_one_target_join_one_incident_without_a_stall(tmp_path):
    rules = 'rules: [{{name: tell, match: alertname="Down", ladder: []}}]'
    data = json.dumps(body(*(down(instance=f"node{i}") for i in range(4_000)))).encode()
    async with daemon(tmp_path, rules) as app, watched() as lags:
        assert await post_bytes(app, data) == 200
        await asyncio.sleep(1)
        (state,) = app.engine.incidents.values()
        assert len(state.alerts) == 4_000
        assert max(lags) < 0.1, sorted(lags)[-5:]


async def test_a_broken_file_keeps_the_old_rules_and_says_why_in_answer_metric_and_history(tmp_path):
    async with daemon(tmp_path) as app:
        (tmp_path / "rules" / "shop.yaml").write_text("rules: [{name: mock, match: 'a=~\"(\"'}]")
        async with app.session.post("/-/reload") as answer:
            assert answer.status == 422
            assert "shop.yaml:1" in json.dumps(await answer.json())
        async with app.session.get("/metrics") as answer:
            assert "stopgap_config_last_reload_successful 0.0" in await answer.text()
        assert [e.kind for e in await app.store.timeline("control")] == ["reload_failed"]
        assert await post(app, body(down())) == 200
        await until(app, "mitigated")
        (tmp_path / "rules" / "shop.yaml").write_text(RULES.format(folder=tmp_path).replace("mock", "other"))
        async with app.session.post("/-/reload") as answer:
            assert answer.status == 200
        assert list(app.engine.rulebook.rules) == ["shop/other"]
        assert await post(app, body(down("resolved"))) == 200
        (closed,) = await until(app, "closed")
        assert closed["outcome"] == "recovered"


async def test_a_reload_says_which_rules_came_went_and_changed_in_answer_log_and_history(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("CHAT", "json://127.0.0.1:9/chat")
    file, site = tmp_path / "rules" / "shop.yaml", tmp_path / "rules" / "site.yaml"
    old = RULES + "  - {{name: gone, match: a=b, ladder: []}}\n"
    with capture_logs() as lines:
        async with daemon(tmp_path, old) as app:
            told = await reloaded(app)
            assert (told["rules"], told["summary"], told["changed"]) == (2, "nothing changed", [])
            new = RULES.replace("hold: 200ms", "hold: 300ms") + "  - {{name: new, match: a=b, ladder: []}}\n"
            file.write_text(new.format(folder=tmp_path))
            site.write_text("contacts: {default: {url_env: CHAT}}\n")
            told = await reloaded(app)
            assert told["summary"] == "1 rule added; 1 rule removed; 1 rule changed (hold); contacts changed"
            assert (told["added"], told["removed"]) == (["shop/new"], ["shop/gone"])
            assert (told["changed"], told["keys"], told["beside"]) == (["shop/mock"], ["hold"], ["contacts"])
            file.write_text("rules: [{name: mock, match: 'a=~\"(\"'}]")
            async with app.session.post("/-/reload") as answer:
                assert answer.status == 422
            file.write_text(new.format(folder=tmp_path))
            assert (await reloaded(app))["summary"] == "nothing changed"  # since what stayed in force
            events = await app.store.timeline("control")
    kept = [e.detail["summary"] for e in events if e.kind == "reloaded"]
    assert kept == ["nothing changed", told["summary"], "nothing changed"]
    assert events[1].detail["changed"] == ["shop/mock"]
    logged = [line for line in lines if line["event"] == "reloaded"]
    assert [line["summary"] for line in logged] == kept
    assert logged[1]["added"] == ["shop/new"]


async def reloaded(app) -> dict:
    async with app.session.post("/-/reload") as answer:
        assert answer.status == 200
        return await answer.json()


async def test_what_is_held_is_held_after_a_restart_and_taken_back_by_the_next_process(tmp_path):
    async with daemon(tmp_path) as app:
        assert await post(app, body(down())) == 200
        await until(app, "mitigated")
    async with daemon(tmp_path, RULES.replace("mock", "renamed")) as app:
        (incident,) = await incidents(app)
        assert incident["phase"] == "mitigated"
        assert await post(app, body(down("resolved"))) == 200
        await until(app, "closed")
        assert len(effects(tmp_path)) == 2


async def test_a_daemon_without_good_rules_does_not_start_and_leaves_nothing_open(tmp_path):
    with pytest.raises(ConfigError):
        async with daemon(tmp_path, "rules: [{{name: x}}]"):
            pass
