"""What is to be tried before an alert needs it: everything that a rule's own matchers say enough of."""

from datetime import timedelta

import pytest
from pydantic import SecretStr
from tests.catalog_fakes import CATALOG
from tests.virtual import virtually

from stopgap.action import Moment, reveal
from stopgap.catalog import Catalog
from stopgap.config import build_rule
from stopgap.matcher import parse_matchers
from stopgap.rule import BlastRadius, Limits, ProbeSpec, Rule, RungSpec, StepSpec
from stopgap.template import Template, compile_tree
from stopgap.trials import KEY, Note, Obstacle, Trial, trials

SECRETS = {"key": SecretStr("hunter2")}


def step(action, **params) -> StepSpec:
    return StepSpec(action, compile_tree(params)[0], timedelta(seconds=30))


def probe(url, **more) -> ProbeSpec:
    return ProbeSpec("http", compile_tree({"url": url})[0], **more)


def flag(value="b", **more) -> StepSpec:
    return step("flag", at="env:///x", set={"A": value}, **more)


def rule(*do, match='alertname="Down"', target="api", **more) -> Rule:
    given = {"ladder": (RungSpec("first", tuple(do)),), "target": target, **more}
    return Rule("p", "one", "v", matchers=parse_matchers(match), **given)


def listed(*do, secrets=SECRETS, **more):
    return list(trials(rule(*do, **more), CATALOG, secrets))


def only(*do, **more):
    (one,) = listed(*do, **more)
    return one


def test_every_step_and_probe_of_every_rung_is_listed_with_its_place():
    rungs = (
        RungSpec("mock mode", (flag(), step("wait", **{"for": "1s"})), (step("restart", at="systemd://a"),)),
        RungSpec("other", (), verify=(probe("http://a"),), only_if=(probe("http://b"),)),
    )
    found = listed(ladder=rungs, recovered=(probe("http://c"),))
    assert [one.where for one in found] == [
        "ladder[0] (mock mode) do[0] flag",
        "ladder[0] (mock mode) do[1] wait",
        "ladder[0] (mock mode) activate[0] restart",
        "ladder[1] (other) only_if[0] http",
        "ladder[1] (other) verify[0] http",
        "recovered[0] http",
    ]
    assert {one.rule for one in found} == {"p/one"}
    assert all(isinstance(one, Trial) for one in found)


def test_the_sample_alert_has_the_labels_that_equality_matchers_promise():
    match = 'alertname="Down",env="prod",job=~"api.*",zone!="a",empty=""'
    found = only(flag("{{ labels.alertname }}-{{ labels.env }}"), match=match)
    assert found.attempt.args[0].set == {"A": "Down-prod"}
    for name in ("job", "zone", "empty"):
        told = only(flag("{{ labels." + name + " }}"), match=match)
        assert told == Note(
            "p/one", "ladder[0] (first) do[0] flag", f"needs labels.{name} of an alert: not tried"
        )


@pytest.mark.parametrize("name", ["annotations.summary", "incident.id"])
def test_what_only_an_alert_knows_is_noted_and_not_tried(name):
    assert only(flag("{{ " + name + " }}")).text == f"needs {name} of an alert: not tried"


def test_a_probe_that_needs_more_of_an_alert_is_noted_too():
    (found,) = listed(recovered=(probe("http://{{ labels.instance }}"),))
    assert found == Note("p/one", "recovered[0] http", "needs labels.instance of an alert: not tried")


def test_a_default_is_a_value_that_can_be_tried():
    assert isinstance(only(flag('{{ labels.zone | default("a") }}')), Trial)


def test_the_target_is_known_where_the_rule_gives_it():
    assert only(flag("{{ target }}"), target="api").attempt.args[0].set == {"A": "api"}
    match = 'alertname="Down",env="prod"'
    found = only(flag("{{ target }}"), target=Template.parse("x-{{ labels.env }}"), match=match)
    assert found.attempt.args[1].target == "x-prod"


@pytest.mark.parametrize(
    "more",
    [
        {"target": None},
        {"target": None, "match": 'alertname="Down",job="api"'},  # an alert may have `service` too
        {"target": Template.parse("{{ labels.instance }}")},
        {"per": ("instance",)},
    ],
)
def test_a_target_that_only_an_alert_can_say_is_not_guessed(more):
    assert only(flag("{{ target }}"), **more).text == "needs target of an alert: not tried"


def test_a_target_label_that_is_matched_by_equality_is_the_target():
    assert isinstance(only(flag("{{ target }}"), target=None, match='service="api"'), Trial)


def test_a_matcher_that_asks_for_an_unsafe_target_is_an_obstacle_because_no_alert_could_be_acted_on():
    found = listed(flag(), target=None, match='service="my service"')
    assert found[0] == Obstacle("p/one", "target", "a label that its matchers ask for is not a plain word")


def test_a_matcher_that_asks_for_an_unsafe_label_is_an_obstacle_where_that_is_used():
    found = only(flag("{{ labels.env }}"), match='env="a b"')
    assert isinstance(found, Obstacle)
    assert "labels.env is not a plain word" in found.text


def test_a_secret_that_is_not_there_is_an_obstacle():
    found = only(flag("{{ secrets.key }}"), secrets={})
    text = "no secret key: set STOPGAP_SECRET_KEY, or STOPGAP_SECRET_KEY_FILE to the name of a file"
    assert found == Obstacle("p/one", "ladder[0] (first) do[0] flag", text)
    assert only(flag("{{ secrets.key | int }}")).text == "secrets.key is not a whole number"


def test_parameters_that_are_not_valid_are_named_without_their_values():
    match = 'alertname="Down",size="4711"'
    found = only(step("scale", at="a://b", count=Template.parse("{{ labels.size | int }}")), match=match)
    assert (type(found), found.text) == (Obstacle, "count is not valid with labels.size")
    assert only(step("scale", at="a://b", count=4711)).text == "count is not valid: reload the rules"
    assert "hunter2" not in only(step("restart", at="{{ secrets.key }}")).text


def test_prose_is_for_people_and_hinders_no_trial():
    body = "{{ annotations.summary }} {{ labels.x | int }} {{ target }} {{ incident.id }}"
    assert isinstance(only(step("notify", contact="oncall", body=body)), Trial)


def test_the_same_thing_has_the_same_key_and_another_one_has_not():
    def keys(*steps):
        return [one.key for one in listed(*steps)]

    same = keys(flag(), flag())
    assert same[0] == same[1]
    different = keys(flag(), flag("c"), step("restart", at="env:///x"), flag("{{ secrets.key }}"))
    assert len(set(different)) == 4
    told = keys(step("notify", contact="a", body="x"), step("notify", contact="a", body="y"))
    assert told[0] == told[1]


def test_a_secret_counts_in_a_key_and_does_not_show():
    one, other = (
        only(flag("{{ secrets.key }}"), secrets={"key": SecretStr(word)}) for word in ("hunter2", "hunter3")
    )
    assert one.key != other.key
    assert one.key != only(flag("hunter2")).key
    assert "hunter2" not in repr((one.key, one.attempt.args))
    assert one.hidden == ("hunter2",)
    assert reveal(one.attempt.args[0].set["A"]) == "hunter2"


def test_lists_of_parameters_count_in_a_key():
    document = {"pack": "p", "name": "a", "match": ['alertname="Down"']}
    documents = [{**document, "ladder": [{"do": [{"action": "list", "params": {"all": [x]}}]}]} for x in "ab"]

    class Params(CATALOG.actions["wait"].params.__base__):
        all: tuple[str, ...]

    class Listing(type(CATALOG.actions["wait"])):
        name = "list"
        params = Params

    catalog = Catalog({"list": Listing()})
    rules = [build_rule(each, catalog) for each in documents]
    keys = {one.key for each in rules for one in trials(each, catalog, {})}
    assert len(keys) == 2


def test_a_trial_takes_ten_seconds_at_most_and_acts_for_the_rule():
    found = only(flag())
    assert found.timeout == timedelta(seconds=10)
    moment = found.attempt.args[1]
    assert moment == Moment(KEY, timedelta(seconds=10), "p/one", "api", labels={"alertname": "Down"})
    (asked,) = listed(recovered=(probe("http://a", timeout=timedelta(seconds=3)),))
    assert asked.timeout == timedelta(seconds=3)


class ThirdParty:
    """Knows no rehearsal."""

    params = CATALOG.actions["restart"].params

    async def observe(self, params, moment):
        return f"saw {params.at}"


@virtually
async def test_an_action_that_knows_no_rehearsal_is_observed():
    (found,) = trials(rule(step("theirs", at="a://b")), Catalog({"theirs": ThirdParty()}), {})
    assert await found.attempt() == "saw a://b"


@virtually
async def test_an_action_of_ours_without_a_rehearsal_of_its_own_is_observed():
    assert await only(flag()).attempt() is None


def blasted(total) -> Rule:
    return rule(limits=Limits(blast_radius=BlastRadius(total, 3)))


@virtually
async def test_what_a_blast_radius_is_measured_by_is_tried():
    async def measure(query, timeout):
        return f"{query} within {timeout.total_seconds():g}"

    (found,) = trials(blasted("count(up)"), Catalog(measure=measure), {})
    assert found.where == "guard.blast_radius.total"
    assert await found.attempt() == "count(up) within 10"


def test_a_blast_radius_that_nothing_can_measure_is_an_obstacle_and_a_number_needs_no_measuring():
    (found,) = trials(blasted("count(up)"), Catalog(), {})
    assert isinstance(found, Obstacle)
    assert list(trials(blasted(7), Catalog(), {})) == []
