"""Deployments and StatefulSets over Kubernetes' API as a strict double speaks it: restarts, sizes, rollbacks."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML
from tests.doubles.k8s import TOKEN
from tests.doubles.k8s_login import running_cluster
from tests.integration import test_action_contract as contract
from tests.integration.test_action_contract import Case

from stopgap.action import Moment, Restored, Settled
from stopgap.actions import Flag, Restart, Rollback, Scale
from stopgap.backends import dsn, locate
from stopgap.backends.capability import Flags, Restartable, Scalable, Services, Versioned
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=10))
SOON = timedelta(seconds=10)
AT = "k8s://shop/deployment/api"
RESTART, ROLLBACK = Restart.params(at=AT), Rollback.params(at=AT)
SCALE = Scale.params(at=AT, count="+1", min=1, max=5)
STAMP = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with running_cluster(tmp_path, monkeypatch) as double:
        yield double


def template(cluster):
    return json.dumps(cluster.named("deployments", "api")["spec"]["template"])


def image(cluster):
    return cluster.named("deployments", "api")["spec"]["template"]["spec"]["containers"][0]["image"]


# --- what every action promises ---


def scaling(cluster):
    api = cluster.named("deployments", "api")
    return Case(Scale(None), SCALE, lambda: api["spec"]["replicas"], lambda: api["spec"].update(replicas=5))


def rolling_back(cluster):
    return Case(Rollback(None), ROLLBACK, lambda: template(cluster), lambda: cluster.deploy("api", "api:3"))


@pytest.fixture(params=[scaling, rolling_back], ids=lambda make: make.__name__)
def case(request, cluster):
    return request.param(cluster)


test_taking_back_restores = contract.test_taking_back_restores_what_was_there
test_taking_back_without_a_receipt = contract.test_taking_back_without_a_receipt_restores_too
test_taking_back_twice = contract.test_taking_back_twice_does_nothing_the_second_time
test_acting_twice = contract.test_acting_twice_with_one_key_is_acting_once
test_an_unknown_outcome = contract.test_an_unknown_outcome_is_settled_by_observing
test_a_cancelled_act = contract.test_a_cancelled_act_is_whole_or_not_there


async def test_what_somebody_changed_meanwhile_is_left_alone(case):
    before, receipt = await contract.acted(case)
    case.meddle()
    theirs = case.world()
    assert (await case.action.revert(case.params, before, receipt, NOW)).result is Restored.DRIFTED
    assert case.world() == theirs


# --- restart ---


@pytest.mark.parametrize("name", ["deployment/api", "statefulset/db"])
async def test_a_restart_stamps_the_pod_template_and_every_pod_is_another_one(cluster, name):
    params, act = Restart.params(at=f"k8s://shop/{name}"), Restart(None)
    before = await act.observe(params, NOW)
    assert act.settled(params, before, before) is Settled.NOT_DONE
    await act.run(params, before, NOW)
    now = await act.observe(params, NOW)
    assert len(now["starts"]) == len(before["starts"]) == 3  # two pods and the stamp
    assert act.settled(params, before, now) is Settled.DONE
    assert cluster.changes() == [("PATCH", f"/apis/apps/v1/namespaces/shop/{name.replace('/', 's/')}")]


async def test_a_restart_that_has_only_begun_is_a_persons_to_judge(cluster):
    before = await Restart(None).observe(RESTART, NOW)
    cluster.idle = True
    await Restart(None).run(RESTART, before, NOW)
    assert (
        Restart(None).settled(RESTART, before, await Restart(None).observe(RESTART, NOW)) is Settled.UNCLEAR
    )


async def test_pods_of_others_and_pods_that_go_do_not_count(cluster):
    pods = cluster.objects["pods"]
    before = await locate(AT, Restartable).observe(SOON)
    labels = {"app": "api"}
    for owner in ({"kind": "ReplicaSet", "name": "api-x-12345"}, {"kind": "Job", "name": "api"}):
        about = {"name": f"p{len(pods)}", "uid": "u", "labels": labels, "ownerReferences": [owner]}
        pods.append({"metadata": about})
    gone = dict(pods[0]["metadata"], name="gone", deletionTimestamp="2026-01-01T00:00:00Z")
    pods.append({"metadata": gone})
    assert await locate(AT, Restartable).observe(SOON) == before


async def test_many_pods_come_page_by_page(cluster):
    cluster.page = 1
    assert len((await locate(AT, Restartable).observe(SOON)).starts) == 3


@pytest.mark.parametrize(
    ("at", "spec", "said"),
    [
        (AT, {"paused": True}, "k8s:shop/deployment/api is paused"),
        (AT, {"replicas": 0}, "scaled to 0: there is nothing to restart"),
        ("k8s://shop/statefulset/db", {"updateStrategy": {"type": "OnDelete"}}, "see its updateStrategy"),
    ],
)
async def test_what_would_restart_nothing_is_refused_and_rehearsed(cluster, at, spec, said):
    kind, name = at.split("/")[-2:]
    cluster.named(f"{kind}s", name)["spec"].update(spec)
    params = Restart.params(at=at)
    for attempt in (Restart(None).rehearse(params, NOW), Restart(None).run(params, None, NOW)):
        with pytest.raises(PermanentError, match=said):
            await attempt
    assert cluster.changes() == []


# --- scale ---


async def test_a_size_of_none_is_a_size(cluster):
    place = locate(AT, Scalable)
    await place.resize("count", 0, SOON)
    assert await place.size("count", SOON) == 0
    assert not (await locate(AT, Restartable).observe(SOON)).up
    await place.resize("count", 3, SOON)
    assert await place.size("count", SOON) == 3


def test_memory_is_no_measure_of_it():
    with pytest.raises(ValidationError, match="cannot change memory: only count"):
        Scale.params(at=AT, memory=512, min=1, max=512)


# --- roll back ---


async def test_the_previous_version_is_one_that_differs_by_more_than_a_restart(cluster):
    await locate(AT, Restartable).restart(SOON)
    await locate(AT, Restartable).restart(SOON)
    before = await Rollback(None).observe(ROLLBACK, NOW)
    await Rollback(None).run(ROLLBACK, before, NOW)
    assert image(cluster) == "api:1"
    await Rollback(None).revert(ROLLBACK, before, None, NOW)
    assert image(cluster) == "api:2"
    assert STAMP in template(cluster)


async def test_a_revision_is_named_by_its_number(cluster):
    cluster.deploy("api", "api:3")
    params = Rollback.params(at=AT, to="1")
    await Rollback(None).run(params, await Rollback(None).observe(params, NOW), NOW)
    assert image(cluster) == "api:1"
    with pytest.raises(PermanentError, match="has no revision '9' left: see its revisionHistoryLimit"):
        await Rollback(None).rehearse(Rollback.params(at=AT, to="9"), NOW)


async def test_a_rollout_that_has_not_begun_has_no_version_yet(cluster):
    cluster.idle = True
    cluster.deploy("api", "api:3")
    with pytest.raises(TemporaryError, match="has not begun"):
        await locate(AT, Versioned).current(SOON)


async def test_a_deployment_that_changes_in_this_moment_is_not_rolled_back(cluster):
    before = await Rollback(None).observe(ROLLBACK, NOW)
    cluster.meddle = lambda: cluster.deploy("api", "api:3")
    with pytest.raises(TemporaryError, match=r"\(409\): .*the object has been modified"):
        await Rollback(None).run(ROLLBACK, before, NOW)
    assert image(cluster) == "api:3"


async def test_a_paused_deployment_is_not_rolled_back(cluster):
    cluster.named("deployments", "api")["spec"]["paused"] = True
    with pytest.raises(PermanentError, match="is paused: kubectl rollout resume"):
        await Rollback(None).rehearse(ROLLBACK, NOW)


# --- rehearsals ---


@pytest.mark.parametrize(
    ("act", "params", "right"),
    [
        (Restart(None), RESTART, "patch deployments"),
        (Restart(None), RESTART, "list pods"),
        (Scale(None), SCALE, "get deployments/scale"),
        (Scale(None), SCALE, "patch deployments/scale"),
        (Rollback(None), ROLLBACK, "list replicasets"),
        (Rollback(None), ROLLBACK, "patch deployments"),
    ],
)
async def test_a_right_that_is_missing_is_told_before_it_is_needed(cluster, act, params, right):
    cluster.forbidden = {right}
    verb, resource = right.split()
    with pytest.raises(PermanentError) as told:
        await act.rehearse(params, NOW)
    assert f'cannot {verb} resource "{resource}"' in str(told.value)
    assert "bind the Role of deploy/README.md" in str(told.value)
    assert TOKEN not in str(told.value)


@pytest.mark.parametrize(
    ("act", "params"), [(Restart(None), RESTART), (Scale(None), SCALE), (Rollback(None), ROLLBACK)]
)
async def test_a_rehearsal_changes_nothing_and_forgives_webhooks_that_know_none(cluster, act, params):
    old = json.dumps(cluster.objects)
    for unready in (False, True):
        cluster.unready = unready
        await act.rehearse(params, NOW)
    assert json.dumps(cluster.objects) == old
    assert cluster.changes() == []


async def test_the_role_of_the_deploy_page_is_what_the_actions_ask_for_and_no_more(cluster):
    flag = Flag.params(at="k8s://shop/configmap/api", set={"PMS_TYPE": "mock"})
    stateful = (
        Restart.params(at="k8s://shop/statefulset/db"),
        Scale.params(at="k8s://shop/statefulset/db", count=3, min=1, max=3),
    )
    acts = [
        (Restart, RESTART),
        (Scale, SCALE),
        (Rollback, ROLLBACK),
        (Flag, flag),
        *zip((Restart, Scale), stateful, strict=True),
    ]
    for act, params in acts:
        before = await act(None).observe(params, NOW)
        await act(None).run(params, before, NOW)
        await act(None).revert(params, before, None, NOW)
    page = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()
    role = YAML(typ="safe").load(page.partition("kind: Role\n")[2].partition("---")[0])
    rights = {
        f"{verb} {one}" for rule in role["rules"] for one in rule["resources"] for verb in rule["verbs"]
    }
    assert cluster.rights == rights


# --- what the answers mean ---


async def test_429_says_when_to_try_again(cluster):
    cluster.limited = 7
    with pytest.raises(TemporaryError) as told:
        await locate(AT, Restartable).restart(SOON)
    assert told.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("status", [500, 503, 504])
async def test_a_server_error_is_temporary_for_a_question(cluster, status):
    cluster.broken = status
    with pytest.raises(TemporaryError, match="etcdserver: request timed out"):
        await locate(AT, Restartable).observe(SOON)


async def test_a_lost_answer_is_unknown_and_observing_settles_it(cluster):
    before = await Scale(None).observe(SCALE, NOW)
    cluster.silent = True
    with pytest.raises(Unanswered):
        await Scale(None).run(SCALE, before, NOW)
    assert Scale(None).settled(SCALE, before, await Scale(None).observe(SCALE, NOW)) is Settled.DONE


async def test_a_lost_answer_to_a_restart_is_looked_up_by_its_stamp(cluster):
    cluster.silent = True
    await locate(AT, Restartable).restart(SOON)
    assert STAMP in template(cluster)


async def test_a_change_that_was_begun_is_finished_when_its_caller_is_cancelled(cluster):
    cluster.slow = 0.2
    task = asyncio.create_task(locate(AT, Scalable).resize("count", 4, SOON))
    while not cluster.changes():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cluster.named("deployments", "api")["spec"]["replicas"] == 4


async def test_a_time_limit_bounds_a_question_and_leaves_a_change_unknown(cluster):
    await locate(AT, Scalable).size("count", SOON)  # the client has been imported
    cluster.slow = 5
    with pytest.raises(TemporaryError):
        await locate(AT, Scalable).size("count", timedelta(seconds=0.5))
    with pytest.raises(Unanswered):
        await locate(AT, Scalable).resize("count", 3, timedelta(seconds=0.5))


async def test_what_is_not_there_is_said(cluster):
    with pytest.raises(PermanentError, match=r'\(404\): deployments "gone" not found'):
        await locate("k8s://shop/deployment/gone", Restartable).observe(SOON)


# --- locators ---


@pytest.mark.parametrize(
    ("locator", "capability", "said"),
    [
        (
            "k8s://shop/pod/api",
            Restartable,
            "names no deployment or statefulset: write k8s://shop/deployment/api",
        ),
        ("k8s://shop/configmap/api", Restartable, "names no deployment or statefulset"),
        ("k8s://shop/deployment/api", Flags, "names no configmap: write k8s://shop/configmap/api"),
        ("k8s://shop/deployment/../api", Restartable, "steps out"),
        ("k8s://shop/deployment/a/b", Restartable, "not the name of a deployment"),
        ("k8s://shop/deployment/-a", Restartable, "not the name of a deployment"),
        ("k8s://shop/deployment/a?x=1", Restartable, "not the name of a deployment"),
        ("k8s://Shop/deployment/a", Restartable, "not the name of a namespace"),
        ("k8s:///deployment/a", Restartable, "has no name after"),
        ("k8s://shop/deployment/a#b", Restartable, "should not"),
        ("k8s://shop/deployment/a", Services, "k8s: cannot start and stop"),
    ],
)
def test_what_is_wrong_is_said_at_load(locator, capability, said):
    with pytest.raises(ValueError, match=said):
        locate(locator, capability)


def test_a_stateful_set_has_nothing_to_roll_back_to_here_which_is_said_at_load():
    with pytest.raises(ValidationError, match="only a deployment has"):
        Rollback.params(at="k8s://shop/statefulset/db")
    with pytest.raises(ValidationError, match="is no revision: write its number"):
        Rollback.params(at=AT, to="v1; reboot")


@pytest.mark.parametrize(
    ("act", "params"), [(Flag, {"at": "k8s://a/configmap/b", "set": {"A": "1"}}), (Restart, {"at": AT})]
)
def test_a_missing_library_is_a_load_error_that_names_the_extra(monkeypatch, act, params):
    monkeypatch.setattr(dsn, "_installed", lambda module: module != "kubernetes_asyncio")
    with pytest.raises(ValidationError, match=r"pip install 'stopgap\[kubernetes\]'"):
        act.params(**params)


# --- the double ---


@pytest.mark.parametrize(
    ("method", "path", "form", "status"),
    [
        ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/api", "application/json", 415),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/shop/deployments/api?force=true",
            "application/merge-patch+json",
            400,
        ),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/shop/deployments/api?dryRun=yes",
            "application/merge-patch+json",
            400,
        ),
        ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/api", "application/json-patch+json", 400),
        ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/api/scale", "application/merge-patch+json", 422),
        ("PATCH", "/apis/apps/v1/namespaces/other/deployments/api", "application/merge-patch+json", 403),
        ("PUT", "/apis/apps/v1/namespaces/shop/deployments/api", "application/json", 405),
        ("DELETE", "/apis/apps/v1/namespaces/shop/deployments/api", "application/json", 405),
        ("PATCH", "/apis/apps/v1beta1/namespaces/shop/deployments/api", "application/merge-patch+json", 404),
    ],
)
async def test_the_double_refuses_what_the_server_would_refuse(cluster, tmp_path, method, path, form, status):
    server = json.loads((tmp_path / "config").read_text())["clusters"][0]["cluster"]["server"]
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": form}
    body = json.dumps({"spec": {"replicas": "many"}})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, server + path, headers=headers, data=body) as answer,
    ):
        assert answer.status == status
        assert (await answer.json())["kind"] == "Status"
