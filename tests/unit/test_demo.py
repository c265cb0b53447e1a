"""The stand-ins' own logic, without a socket."""

import pytest

from stopgap.alert import Alert, read_alert
from stopgap.demo.hotel import Breaker, Limiter, Settings, read_env
from stopgap.demo.lab import ENV, shipped_rules
from stopgap.demo.monitoring import hasten
from stopgap.demo.understudy import CONDITIONS, QUERIES, Understudy, quantile, read


class Watch:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def understudy() -> Understudy:
    return Understudy({}, "http://127.0.0.1:1/webhook", "token")


def hits(count: float, *, breaker: float = 0.0) -> dict[str, float]:
    return {"slowapi_limiter_hits_total": count, "pms_circuit_breaker_state": breaker, "database_up": 1.0}


def test_the_hotel_reads_its_env_file_past_comments_quotes_and_export():
    env = read_env(ENV.format(pms="http://127.0.0.1:1", database="127.0.0.1:2"))
    assert env["PMS_TYPE"] == "qloapps"
    assert env["PMS_BASE_URL"] == "http://127.0.0.1:1"
    assert env["AUDIO_ENABLED"] == "true"
    assert env["RATE_LIMIT_PER_MINUTE"] == "120"
    settings = Settings(env)
    assert not settings.mock
    assert settings.audio
    assert (settings.limit, settings.cache_ttl, settings.database) == (120, 0.0, ("127.0.0.1", 2))


def test_the_hotel_shows_its_settings_without_the_password():
    shown = Settings(read_env(ENV.format(pms="http://x", database="db:5432"))).shown()
    assert shown["DATABASE_URL"] == "postgresql+asyncpg://agente_user:***@db:5432/agente_hotel"


def test_the_breaker_opens_after_three_failures_in_a_row_and_tries_again_after_its_recovery_time():
    watch = Watch()
    breaker = Breaker(30, now=watch)
    for worked in (False, False, True, False, False):
        breaker.report(worked=worked)
    assert breaker.opened_at is None
    breaker.report(worked=False)
    assert breaker.opened_at is not None
    assert not breaker.lets_through
    watch.time += 30
    assert breaker.lets_through
    breaker.report(worked=False)
    assert not breaker.lets_through
    watch.time += 30
    breaker.report(worked=True)
    assert breaker.opened_at is None


@pytest.mark.parametrize(("limit", "refused"), [(120, 116), (300, 0)])
def test_240_messages_a_minute_are_too_many_for_a_limit_of_120_and_fine_for_300(limit, refused):
    watch = Watch()
    limiter = Limiter(limit, now=watch)
    answers = []
    for _ in range(240):
        watch.time += 0.25
        answers.append(limiter.admits("192.0.2.1"))
    assert answers.count(False) == pytest.approx(refused, abs=2)


def test_one_guest_does_not_use_up_the_limit_of_another():
    limiter = Limiter(60, now=Watch())
    assert [limiter.admits("a") for _ in range(3)] == [True, True, False]
    assert limiter.admits("b")


def test_hastening_cuts_waits_and_ranges_and_nothing_else():
    shipped = (shipped_rules() / "agente-hotel" / "alerts.yaml").read_text()
    fast = hasten(shipped)
    changed = [
        (old, new) for old, new in zip(shipped.splitlines(), fast.splitlines(), strict=True) if old != new
    ]
    assert len(changed) == sum("for: " in old or "[" in old for old, _ in changed)
    assert len(changed) >= 6  # waits and ranges
    assert all("for: 1s" in new or "[5s]" in new for _, new in changed)


def test_the_understudy_has_the_thresholds_and_names_of_the_shipped_alerts():
    shipped = (shipped_rules() / "agente-hotel" / "alerts.yaml").read_text()
    assert all(f"alert: {name}\n" in shipped for name in CONDITIONS)
    assert "> 3\n" in shipped
    assert "> 10\n" in shipped


def test_a_quantile_is_interpolated_within_its_bucket():
    assert quantile(0.95, {1.0: 90.0, 4.0: 90.0, 5.0: 100.0, float("inf"): 100.0}) == pytest.approx(4.5)
    assert quantile(0.95, {1.0: 0.0, 5.0: 0.0, float("inf"): 10.0}) == 5.0
    assert quantile(0.95, {1.0: 0.0, float("inf"): 0.0}) is None
    assert quantile(0.95, {}) is None


def test_the_understudy_reads_metrics_as_they_are_exported():
    text = '# TYPE a_seconds histogram\na_seconds_bucket{le="0.5"} 2\na_seconds_bucket{le="+Inf"} 3\na_seconds_count 3\n'
    assert read(text) == {"a_seconds_bucket{0.5}": 2.0, "a_seconds_bucket{+Inf}": 3.0, "a_seconds_count": 3.0}


def test_the_understudy_fires_from_the_threshold_on_and_resolves_below_it():
    played = understudy()
    played.take("agente-hotel", 0.0, hits(0))
    assert played.judge() == {}
    played.take("agente-hotel", 1.0, hits(12, breaker=1.0))
    assert played.judge() == {"PMSCircuitBreakerOpen": "firing", "RateLimitSpike": "firing"}


def test_a_target_that_does_not_answer_is_no_data():
    played = understudy()
    played.take("agente-hotel", 0.0, hits(0, breaker=1.0))
    assert played.ask("max(pms_circuit_breaker_state)") == 1.0
    played.take("agente-hotel", 1.0, None)
    assert played.ask("max(pms_circuit_breaker_state)") is None
    assert all(played.ask(query) is None for query in QUERIES.values())
    assert played.judge() == {}


def test_a_query_that_the_understudy_does_not_know_is_refused():
    with pytest.raises(KeyError):
        understudy().ask("sum(rate(x[5m]))")


@pytest.mark.parametrize("status", ["firing", "resolved"])
def test_what_the_understudy_posts_is_a_notification_that_stopgap_reads(status):
    body = understudy().notification("HighLatency", status)
    assert body["version"] == "4"
    read_back = read_alert(body["alerts"][0])
    assert isinstance(read_back, Alert)
    assert read_back.labels["alertname"] == "HighLatency"
    assert body["alerts"][0]["status"] == status
