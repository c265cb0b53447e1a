"""Flags in a ConfigMap: several keys in one patch that holds only if nobody else changed it meanwhile."""

import json
from datetime import timedelta

import pytest
from tests.doubles.k8s_login import running_cluster
from tests.integration import test_action_contract as contract
from tests.integration.test_action_contract import Case

from stopgap.action import Moment, Restored, Settled
from stopgap.actions import Flag
from stopgap.backends.whole import Unanswered
from stopgap.errors import PermanentError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=10))
AT = "k8s://shop/configmap/api"
PATH = "/api/v1/namespaces/shop/configmaps/api"
SETTINGS = {"PMS_TYPE": "mock", "CACHE_TTL": "300", "new.key": "line\nand \u00fc{{ x }}"}
PARAMS, ACT = Flag.params(at=AT, set=SETTINGS), Flag(None)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with running_cluster(tmp_path, monkeypatch) as double:
        yield double


def theirs(cluster):
    one = cluster.named("configmaps", "api")
    one["data"].update(PMS_TYPE="other", CACHE_TTL="61", **{"new.key": "theirs"})
    cluster.touched("configmaps", one)


@pytest.fixture
def case(cluster):
    def world():
        one = cluster.named("configmaps", "api")
        return json.dumps([one["data"], one["binaryData"]], sort_keys=True)

    return Case(ACT, PARAMS, world, lambda: theirs(cluster))


test_taking_back_restores = contract.test_taking_back_restores_what_was_there
test_taking_back_without_a_receipt = contract.test_taking_back_without_a_receipt_restores_too
test_taking_back_twice = contract.test_taking_back_twice_does_nothing_the_second_time
test_acting_twice = contract.test_acting_twice_with_one_key_is_acting_once
test_an_unknown_outcome = contract.test_an_unknown_outcome_is_settled_by_observing
test_a_cancelled_act = contract.test_a_cancelled_act_is_whole_or_not_there


async def test_what_somebody_changed_meanwhile_is_left_alone(case):
    before, receipt = await contract.acted(case)
    case.meddle()
    left = case.world()
    assert (await ACT.revert(PARAMS, before, receipt, NOW)).result is Restored.DRIFTED
    assert case.world() == left


async def test_several_keys_are_one_patch(cluster):
    await ACT.run(PARAMS, await ACT.observe(PARAMS, NOW), NOW)
    assert cluster.changes() == [("PATCH", PATH)]
    assert cluster.named("configmaps", "api")["data"] == SETTINGS


async def test_a_change_between_reading_and_writing_is_not_overwritten(cluster):
    before = await ACT.observe(PARAMS, NOW)
    cluster.meddle = lambda: theirs(cluster)
    with pytest.raises(TemporaryError, match=r"\(409\): Operation cannot be fulfilled"):
        await ACT.run(PARAMS, before, NOW)
    assert cluster.named("configmaps", "api")["data"]["CACHE_TTL"] == "61"


async def test_a_lost_answer_is_unknown_and_observing_settles_it(cluster):
    before = await ACT.observe(PARAMS, NOW)
    cluster.silent = True
    with pytest.raises(Unanswered):
        await ACT.run(PARAMS, before, NOW)
    assert ACT.settled(PARAMS, before, await ACT.observe(PARAMS, NOW)) is Settled.DONE


async def test_a_configmap_without_data_has_none_of_the_keys(cluster):
    cluster.configure("empty", {})
    del cluster.named("configmaps", "empty")["data"]
    params = Flag.params(at="k8s://shop/configmap/empty", set={"A": "1"})
    before = await ACT.observe(params, NOW)
    receipt = await ACT.run(params, before, NOW)
    assert cluster.named("configmaps", "empty")["data"] == {"A": "1"}
    await ACT.revert(params, before, receipt, NOW)
    assert cluster.named("configmaps", "empty")["data"] == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"LOGO": "x"}, "LOGO of k8s:shop/configmap/api holds bytes and no text"),
        ({"a/b": "x"}, "is not a key that a ConfigMap can have"),
        ({"..": "x"}, "is not a key that a ConfigMap can have"),
        ({"A": "x" * 600_000}, r"\(422\): .*may not be more than 1048576 bytes"),
    ],
)
async def test_what_it_cannot_hold_is_told_before_it_is_needed(cluster, settings, said):
    cluster.named("configmaps", "api")["data"]["BIG"] = "x" * 600_000
    params = Flag.params(at=AT, set=settings)
    with pytest.raises(PermanentError, match=said):
        await ACT.rehearse(params, NOW)
    assert cluster.changes() == []


async def test_one_that_is_immutable_is_told_before_it_is_needed(cluster):
    cluster.named("configmaps", "api")["immutable"] = True
    with pytest.raises(PermanentError, match="is immutable: nobody can change it"):
        await ACT.rehearse(PARAMS, NOW)


@pytest.mark.parametrize("right", ["get configmaps", "patch configmaps"])
async def test_a_right_that_is_missing_is_told_before_it_is_needed(cluster, right):
    cluster.forbidden = {right}
    with pytest.raises(
        PermanentError, match=f'cannot {right.split()[0]} resource "configmaps" in API group ""'
    ):
        await ACT.rehearse(PARAMS, NOW)


async def test_a_rehearsal_changes_nothing(cluster, case):
    old = case.world()
    await ACT.rehearse(PARAMS, NOW)
    assert case.world() == old
    assert cluster.changes() == []
