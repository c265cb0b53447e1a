"""A drill against the whole daemon, over HTTP: what begins, what ends it, and what is left when the daemon restarts."""

import asyncio

import pytest
from tests.integration.test_app import body, daemon, down, incidents, post, until

RULES = """
rules:
  - name: mock
    match: alertname="Down"
    target: app
    do:
      - exec: {{argv: [sh, "{folder}/count.sh"], revert: [sh, "{folder}/count.sh"]}}
    verify:
      - {{exec: {{argv: ["true"]}}, every: 100ms}}
    recovered:
      - {{exec: {{argv: ["true"]}}, every: 100ms}}
    hold: 200ms
"""


async def drills(app) -> list[dict]:
    async with app.session.get("/api/v1/drills") as answer:
        return (await answer.json())["drills"]


async def metrics(app) -> str:
    async with app.session.get("/metrics") as answer:
        return await answer.text()


async def begins(app, **more) -> tuple[int, dict]:
    labels = {"alertname": "Down", "job": "shop"}
    sent = {"name": "app-down", "labels": labels, "for": "1m", "by": "ann", **more}
    async with app.session.post("/api/v1/drills", json=sent) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_daemon_that_is_restarted_in_the_middle_ends_the_drill_in_time(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        assert (await begins(app, **{"for": "2s"}))[0] == 201
        await until(app, "mitigated")
    async with daemon(tmp_path, RULES) as app:
        (incident,) = await until(app, "closed")
        assert (incident["drill"], incident["outcome"]) == ("app-down", "recovered")


async def test_nobody_outside_can_forge_a_drill_or_end_one(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        assert await post(app, body(down(stopgap_drill="app-down"))) == 200
        assert await incidents(app) == []
        assert 'stopgap_alerts_rejected_total{reason="reserved_label"} 1.0' in await metrics(app)
        assert (await begins(app))[0] == 201
        await until(app, "mitigated")
        assert await post(app, body(down("resolved", stopgap_drill="app-down"))) == 200
        (incident,) = await incidents(app)
        assert incident["phase"] == "mitigated"


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"labels": {"alertname": "Other"}}, 422, "no rule takes"),
        ({"labels": {"alertname": "Down", "stopgap_drill": "x"}}, 422, "reserved_label"),
        ({"name": "../x"}, 400, "is not what this path takes"),
        ({"for": "5h"}, 400, "is not what this path takes"),
        ({"labels": {}}, 400, "is not what this path takes"),
    ],
)
async def test_what_is_no_drill_is_refused(tmp_path, more, status, said):
    async with daemon(tmp_path, RULES) as app:
        found = await begins(app, **more)
        assert found[0] == status
        assert said in found[1]["detail"]
        assert await incidents(app) == []


async def test_a_drill_runs_once_and_its_end_may_be_said_twice(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        status, told = await begins(app)
        assert (status, told["name"]) == (201, "app-down")
        assert [one["rule"] for one in told["incidents"]] == ["shop/mock"]
        assert (await begins(app))[0] == 409
        for ended in (True, False):
            async with app.session.delete("/api/v1/drills/app-down", params={"by": "ann"}) as answer:
                assert (await answer.json())["ended"] is ended
        await until(app, "closed")


async def test_drills_in_a_row_follow_each_other_as_little_as_a_real_incident_follows_them(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        for count in (1, 2):
            assert (await begins(app, **{"for": "300ms"}))[0] == 201
            assert len(await until(app, "closed")) == count
        assert await post(app, body(down())) == 200
        for _ in range(100):
            found = await incidents(app)
            if found[0]["phase"] == "mitigated":
                break
            await asyncio.sleep(0.05)
        assert [(one["drill"], one["follows"]) for one in found] == [(None, None), *[("app-down", None)] * 2]
