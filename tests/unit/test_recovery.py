"""Recovery: the question that is asked where a rule brings none."""

from stopgap.recovery import default_recovered

A = {"alertname": "Slow", "job": "api", "instance": "a", "cluster": "eu"}


def asked(*alerts):
    return [spec.params["labels"] for spec in default_recovered(alerts)]


def test_one_alert_is_asked_about_with_all_its_labels():
    (spec,) = default_recovered([A])
    assert (spec.probe, spec.params) == ("alert", {"labels": A})


def test_alerts_of_one_name_and_job_are_one_question_about_the_labels_that_they_share():
    assert asked(A, A | {"instance": "b"}, A | {"zone": "1"}) == [
        {"alertname": "Slow", "job": "api", "cluster": "eu"}
    ]


def test_each_job_and_each_name_is_asked_about_in_the_order_in_which_they_came():
    named = asked(A, {"alertname": "Down"}, A | {"job": "web"}, A)
    assert [(one["alertname"], one.get("job")) for one in named] == [
        ("Slow", "api"),
        ("Down", None),
        ("Slow", "web"),
    ]


def test_an_alert_that_joins_leaves_the_other_questions_in_their_place():
    before, after = asked(A, {"alertname": "Down"}), asked(A, {"alertname": "Down"}, {"alertname": "Aaa"})
    assert after[:2] == before


def test_nothing_is_asked_about_an_alert_without_a_name_nor_without_alerts():
    assert asked(A, {"job": "api"}) == []
    assert asked({"alertname": ""}) == []
    assert asked() == []
