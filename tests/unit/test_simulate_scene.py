"""Facts of a scene: which one counts, how often, and which of them nobody asked for."""

import pytest

from stopgap.simulate.scene import AS_IT_WAS, Facts, Scene, about


@pytest.mark.parametrize(
    ("pattern", "words", "fits"),
    [
        ("restart", "restart: restart systemd:app.service", True),
        ("http */api/health", "http GET https://pms.example.com/api/health 200", True),
        ("rate(x[2m]) * 2", "sum(rate(x[2m]) * 2) < 3", True),
        ("http *:8000/", "http GET http://localhost:8080/ 200", False),
        ("Restart", "restart: x", False),
    ],
)
def test_a_fact_is_about_what_has_its_words(pattern, words, fits):
    assert about(pattern, words) is fits


def test_the_last_fact_that_fits_counts():
    facts = Facts()
    assert not facts
    facts.say("http", 1)
    facts.say("ready", 2)
    assert facts.of("http ready") == 2
    facts.say("http", 3)
    assert facts.of("http ready") == 3
    assert (facts.of("http live"), facts.of("tcp")) == (3, None)
    assert len(facts) == 2


def test_a_fact_may_hold_for_some_times_only():
    facts = Facts()
    facts.say("x", "always")
    facts.say("xy", "twice", times=2)
    assert [facts.of("xyz", spend=True) for _ in range(3)] == ["twice", "twice", "always"]
    facts.say("xy", "once", times=1)
    assert [facts.of("xyz") for _ in range(2)] == ["once", "once"]


def test_what_nobody_asked_for_is_known():
    facts = Facts()
    facts.say("a", 1)
    facts.say("b", 2)
    facts.of("a")
    facts.say("a", 3)
    assert facts.idle == ("b",)


def test_a_resource_of_which_nothing_is_said_is_as_it_was():
    scene = Scene()
    assert scene.value("env:x#A") == AS_IT_WAS
    assert not scene.asked
    scene.values["env:x#A"] = "b"
    assert scene.observe("env:x#A") == "b"
    assert scene.asked == {"env:x#A"}
