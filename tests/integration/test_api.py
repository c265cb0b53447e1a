"""The API over a real socket: what it shows, what it takes, and whom it lets in."""

from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from tests.desk import CLOSED, HELD, NOW, OPEN, TOKEN, Office, Reloaded
from tests.intake import serving

from stopgap.api import mount
from stopgap.errors import Problem as Wrong, StoreError
from stopgap.incident import EventKind as K
from stopgap.rulebook import Changes

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def office(**more):
    there = Office(**more)
    async with serving(lambda app: mount(app, there.desk)) as (url, session):

        async def ask(method, path, headers=BEARER, **body):
            async with session.request(method, url + path, headers=headers, **body) as answer:
                kind = answer.headers["Content-Type"]
                told = await (answer.json(content_type=kind) if "json" in kind else answer.text())
                if answer.status >= 400 and path != "/-/ready":
                    assert kind == "application/problem+json"
                    assert told["status"] == answer.status
                return answer.status, told

        there.ask = ask
        yield there


async def test_metrics_and_health_need_no_token():
    async with office() as there:
        assert await there.ask("GET", "/metrics", {}) == (200, "stopgap_up 1\n")
        assert await there.ask("GET", "/-/healthy", {}) == (200, "ok")
        status, told = await there.ask("GET", "/-/ready", {})
        assert (status, told["ready"], told["checks"]) == (200, True, {"store": "ok", "rules": "ok"})


@pytest.mark.parametrize(("certain", "role"), [(True, "leader"), (False, "uncertain")])
async def test_ready_says_whether_it_leads_as_a_standby_says_what_it_is(certain, role):
    async with office(leads=lambda: certain) as there:
        assert (await there.ask("GET", "/-/ready", {}))[1]["role"] == role


async def test_ready_says_what_is_missing():
    async with office() as there:
        there.wrong = {"store": "disk is full"}
        status, told = await there.ask("GET", "/-/ready", {})
        assert (status, told["ready"], told["checks"]["store"]) == (503, False, "disk is full")


PATHS = [
    ("GET", "/api/v1/incidents"),
    ("GET", "/api/v1/rules"),
    ("PUT", "/api/v1/brake"),
    ("POST", "/-/reload"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic Y29udHJvbCB3b3Jk"}]
)
async def test_control_needs_its_token_and_refusals_are_recorded_once_in_a_while(method, path, header):
    async with office() as there:
        for _ in range(3):
            status, _ = await there.ask(method, path, header)
            assert status == 401
        assert there.logins == 3
        assert [line.kind for line in there.engine.journal.said] == [K.LOGIN_REFUSED]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"Host": "evil.example:9797"}, 421),
        ({"Host": "["}, 400),
        ({"Host": "stopgap.internal:9797"}, 200),
        ({"Host": "localhost:9797"}, 200),
        ({"Host": "[::1]:9797"}, 200),
        ({"Host": "localhost:9797", "Origin": "http://localhost:9797"}, 200),
        ({"Host": "localhost:9797", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:9797", "Origin": "null"}, 403),
    ],
)
async def test_foreign_hosts_and_origins_do_not_control_even_with_the_token(header, status):
    async with office(hosts=frozenset({"stopgap.internal"})) as there:
        if status == 400:
            status = 421
        assert (await there.ask("GET", "/api/v1/incidents", {**BEARER, **header}))[0] == status


async def test_the_listing_shows_live_incidents_then_closed_ones_newest_first():
    async with office() as there:
        _, told = await there.ask("GET", "/api/v1/incidents")
        assert [row["id"] for row in told["incidents"]] == [OPEN, HELD, CLOSED]
        assert told["next"] is None
        held = told["incidents"][1]
        assert held["held"] == [{"rung": 0, "resources": ["env:/x#PMS"]}]
        assert (held["phase"], held["opened_at"]) == ("mitigated", "2026-11-21T10:00:00.000Z")
        assert held["lease_until"] == "2026-11-21T14:01:00.000Z"


async def test_the_listing_goes_page_by_page():
    async with office() as there:
        seen, path = [], "/api/v1/incidents?limit=1"
        while path:
            _, told = await there.ask("GET", path)
            seen += [row["id"] for row in told["incidents"]]
            path = told["next"] and f"/api/v1/incidents?limit=1&before={told['next']}"
        assert seen == [OPEN, HELD, CLOSED]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("phase=closed", [CLOSED]),
        ("phase=mitigated", [HELD]),
        ("target=fly://hotel", [HELD]),
        ("rule=x/y", [CLOSED]),
    ],
)
async def test_the_listing_is_filtered(query, ids):
    async with office() as there:
        _, told = await there.ask("GET", f"/api/v1/incidents?{query}")
        assert [row["id"] for row in told["incidents"]] == ids


@pytest.mark.parametrize("query", ["phase=odd", "limit=0", "limit=1001", "limit=x", "colour=red"])
async def test_a_query_that_means_nothing_is_refused_by_name(query):
    async with office() as there:
        status, told = await there.ask("GET", f"/api/v1/incidents?{query}")
        assert status == 400
        assert query.partition("=")[0] in told["errors"][0]


@pytest.mark.parametrize("identifier", [HELD, CLOSED])
async def test_one_incident_is_shown_with_its_timeline_live_or_closed(identifier):
    async with office() as there:
        _, told = await there.ask("GET", f"/api/v1/incidents/{identifier}")
        assert told["id"] == identifier
        assert told["alerts"][0]["labels"]["alertname"] == "PMSDown"
        assert told["timeline"][0] | {"alerts": ...} == told["timeline"][0] | {
            "seq": 1,
            "event": "opened",
            "alerts": ...,
        }


@pytest.mark.parametrize("identifier", ["INC-x", "control"])
async def test_an_unknown_incident_is_404(identifier):
    async with office() as there:
        assert (await there.ask("GET", f"/api/v1/incidents/{identifier}"))[0] == 404


@pytest.mark.parametrize(
    ("order", "body", "given"),
    [
        ("ack", {"by": "ada"}, ("ack", "ada", "")),
        ("approve", {"by": "ada", "request": 7}, ("approve", "ada", "", 7)),
        ("approve", {"why": "go"}, ("approve", "api", "go", None)),
        ("deny", {"by": "ada", "why": "risky"}, ("deny", "ada", "risky", None)),
        ("deny", {"by": "ada", "why": "risky", "request": 7}, ("deny", "ada", "risky", 7)),
        ("revert", {"by": "ada", "why": "it hurts"}, ("revert", "ada", "it hurts")),
        ("extend", {"for": "2h", "why": "slow vendor"}, ("extend", "api", timedelta(hours=2), "slow vendor")),
        ("close", {"by": "ada", "why": "done", "keep": True}, ("close", "ada", "done", True)),
    ],
)
async def test_an_order_is_given_and_answered_with_the_incident(order, body, given):
    async with office() as there:
        status, told = await there.ask("POST", f"/api/v1/incidents/{HELD}/{order}", json=body)
        assert (status, told["id"]) == (200, HELD)
        assert there.orders.given == [(HELD, *given)]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{OPEN}/revert", {"why": "x"}, 409),
        (f"{CLOSED}/revert", {"why": "x"}, 409),
        ("INC-0/revert", {"why": "x"}, 404),
        (f"{HELD}/deny", {}, 400),
        (f"{HELD}/deny", {"why": " "}, 400),
        (f"{HELD}/approve", {"request": 0}, 400),
        (f"{HELD}/approve", {"request": "last"}, 400),
        (f"{HELD}/revert", {"why": " "}, 400),
        (f"{HELD}/revert", {}, 400),
        (f"{HELD}/extend", {"why": "x", "for": "0"}, 400),
        (f"{HELD}/extend", {"why": "x", "for": "soon"}, 400),
        (f"{HELD}/ack", {"by": "x" * 65}, 400),
        (f"{HELD}/ack", {"color": "red"}, 400),
        (f"{HELD}/ack", [], 400),
        (f"{HELD}/ack", {"why": "x" * 70_000}, 413),
        (f"{HELD}/explode", {}, 404),
    ],
)
async def test_an_order_that_cannot_be_is_refused_and_not_given(path, body, status):
    async with office() as there:
        assert (await there.ask("POST", f"/api/v1/incidents/{path}", json=body))[0] == status
        assert there.orders.given == []


async def test_a_form_cannot_give_orders():
    async with office() as there:
        assert (await there.ask("POST", f"/api/v1/incidents/{HELD}/ack", data={"by": "x"}))[0] == 415


async def test_a_brake_goes_on_and_off():
    async with office() as there:
        body = {"scope": "rule", "name": "hotel/pms", "by": "ada", "why": "audit", "for": "1h"}
        status, told = await there.ask("PUT", "/api/v1/brake", json=body)
        assert status == 200
        assert told["brakes"][0]["until"] == "2026-11-21T11:30:00.000Z"
        assert there.engine.brakes[0].until == NOW + timedelta(hours=1)
        assert (await there.ask("GET", "/api/v1/brake"))[1] == told
        assert (await there.ask("DELETE", "/api/v1/brake"))[0] == 404
        assert (await there.ask("PUT", "/api/v1/brake", json={"by": "ada"}))[0] == 400  # without a reason
        status, told = await there.ask("DELETE", "/api/v1/brake?scope=rule&name=hotel/pms&by=ada")
        assert (status, told, there.engine.released) == (200, {"brakes": []}, "")


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "rule", "name": "hotel/typo"},
        {"scope": "pack", "name": "x"},
        {"name": "x"},
        {"scope": "target"},
    ],
)
async def test_a_brake_that_would_stop_nothing_is_refused(body):
    async with office() as there:
        assert (await there.ask("PUT", "/api/v1/brake", json={**body, "why": "x"}))[0] == 400
        assert there.engine.brakes == ()


async def test_a_reload_says_what_is_wrong_and_that_the_old_rules_stay():
    async with office() as there:
        there.reloaded = Reloaded(1, (Wrong("pms.yaml", 3, 1, "rules", "unknown-key", "bad", "mend it"),))
        status, told = await there.ask("POST", "/-/reload")
        assert (status, told["errors"]) == (422, ["pms.yaml:3:1: rules: bad, mend it"])
        place = {"path": "pms.yaml", "line": 3, "column": 1, "key": "rules", "warning": False}
        assert told["problems"] == [{**place, "code": "unknown-key", "text": "bad", "hint": "mend it"}]
        assert told["problem_count"] == 1
        assert "old 1 rules stay" in told["detail"]


async def test_a_reload_says_what_changed():
    async with office() as there:
        status, told = await there.ask("POST", "/-/reload")
        assert (status, told["rules"], told["summary"]) == (200, 1, "nothing changed")
        there.reloaded = Reloaded(2, changes=Changes(added=("shop/new",), beside=("contacts",)))
        _, told = await there.ask("POST", "/-/reload")
        assert told["summary"] == "1 rule added; contacts changed"
        assert (told["added"], told["changed"], told["beside"]) == (["shop/new"], [], ["contacts"])
        assert told["counts"] == {"added": 1, "removed": 0, "changed": 0}


async def test_rules_are_listed():
    async with office() as there:
        _, told = await there.ask("GET", "/api/v1/rules")
        assert told["rules"][0]["id"] == "hotel/pms"
        assert told["rules"][0]["hold_seconds"] == 300


async def test_a_store_that_does_not_answer_is_503_and_a_fault_of_ours_500_without_details():
    async with office() as there:
        there.engine.journal.error = StoreError("/var/lib/secret is broken")
        status, told = await there.ask("GET", f"/api/v1/incidents/{HELD}")
        assert (status, "secret" in str(told)) == (503, False)
        assert (await there.ask("GET", "/api/v1/incidents", {}))[0] == 401  # also when it cannot be recorded
        there.engine.journal.error = RuntimeError("secret")
        status, told = await there.ask("GET", f"/api/v1/incidents/{HELD}")
        assert (status, "secret" in str(told)) == (500, False)


async def test_unknown_paths_and_methods_are_problems_too():
    async with office() as there:
        assert (await there.ask("GET", "/nothing"))[0] == 404
        assert (await there.ask("DELETE", "/api/v1/rules"))[0] == 405
