"""Settings from flags, variables and files."""

import os
from datetime import timedelta

import pytest
from pydantic import SecretStr, ValidationError

from stopgap.errors import ConfigError
from stopgap.rule import Mode
from stopgap.settings import Settings


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("STOPGAP_")]:
        monkeypatch.delenv(name)


def test_without_anything_it_listens_on_this_machine_only_and_may_act():
    settings = Settings()
    assert settings.address == ("127.0.0.1", 9797)
    assert settings.mode is Mode.AUTO
    assert settings.webhook_token is None


def test_every_setting_says_what_it_is():
    assert not [name for name, field in Settings.model_fields.items() if not field.description]


def test_each_setting_is_a_variable_too(monkeypatch):
    monkeypatch.setenv("STOPGAP_RULES", "/etc/stopgap/rules")
    monkeypatch.setenv("STOPGAP_MODE", "shadow")
    monkeypatch.setenv("STOPGAP_LOG_LEVEL", "warning")
    monkeypatch.setenv("STOPGAP_MAX_BODY", "2048")
    settings = Settings()
    assert (str(settings.rules), settings.mode, settings.log_level, settings.max_body) == (
        "/etc/stopgap/rules",
        Mode.SHADOW,
        "warning",
        2048,
    )


def test_the_external_url_may_have_a_path_and_loses_its_last_slash(monkeypatch):
    assert Settings().external_url is None
    monkeypatch.setenv("STOPGAP_EXTERNAL_URL", "https://ops.example.com:8443/stopgap/")
    assert Settings().external_url == "https://ops.example.com:8443/stopgap"


def test_a_flag_outranks_a_variable(monkeypatch):
    monkeypatch.setenv("STOPGAP_MODE", "shadow")
    assert Settings(mode="approve").mode is Mode.APPROVE


def test_an_empty_token_in_the_environment_is_refused_and_not_taken_for_none(monkeypatch):
    monkeypatch.setenv("STOPGAP_WEBHOOK_TOKEN", "")
    with pytest.raises(ValidationError, match="would let everybody in"):
        Settings()


@pytest.mark.parametrize("text", ["http://a:9093,http://b:9093", " http://a:9093,\n http://b:9093 "])
def test_several_alertmanagers_stand_in_one_variable(monkeypatch, text):
    monkeypatch.setenv("STOPGAP_ALERTMANAGER", text)
    assert Settings().alertmanager == ("http://a:9093", "http://b:9093")


def test_vars_come_from_files_in_order_and_then_from_single_ones(monkeypatch, tmp_path):
    (tmp_path / "a.yaml").write_text("x: 1\ny: 2\n")
    (tmp_path / "b.yaml").write_text("y: 03\n")
    monkeypatch.setenv("STOPGAP_VARS", f"{tmp_path}/a.yaml,{tmp_path}/b.yaml")
    monkeypatch.setenv("STOPGAP_VAR", "z=a = b\npack/x=5\n")
    assert Settings().all_vars() == {"x": "1", "y": "03", "z": "a = b", "pack/x": "5"}


def test_a_file_of_vars_that_is_not_there_is_said():
    with pytest.raises(ConfigError, match=r"nope\.yaml:1:1: cannot be read: No such file"):
        Settings(vars=["nope.yaml"]).all_vars()


# --- secrets ---


def test_a_token_is_read_from_a_file_without_its_line_end(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("hunter2\r\n")
    monkeypatch.setenv("STOPGAP_WEBHOOK_TOKEN_FILE", str(tmp_path / "token"))
    assert Settings().webhook_token == SecretStr("hunter2")


def test_a_variable_outranks_the_file(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("from-file")
    monkeypatch.setenv("STOPGAP_CONTROL_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("STOPGAP_CONTROL_TOKEN", "from-variable")
    assert Settings().control_token == SecretStr("from-variable")


def test_only_secrets_come_from_files(monkeypatch, tmp_path):
    (tmp_path / "mode").write_text("shadow")
    monkeypatch.setenv("STOPGAP_MODE_FILE", str(tmp_path / "mode"))
    assert Settings().mode is Mode.AUTO


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\xff", "is not text"),
        (b"x" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_file_of_a_secret_that_is_no_use_is_said(monkeypatch, tmp_path, content, said):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    monkeypatch.setenv("STOPGAP_WEBHOOK_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(ValueError, match=said):
        Settings()


def test_the_heartbeat_url_is_a_secret_and_may_stand_in_a_file(monkeypatch, tmp_path):
    assert (Settings().heartbeat_url, Settings().heartbeat_every) == (None, timedelta(minutes=1))
    (tmp_path / "url").write_text(" https://hc.example.com/hunter4 \n")
    monkeypatch.setenv("STOPGAP_HEARTBEAT_URL_FILE", str(tmp_path / "url"))
    assert Settings().heartbeat_url == SecretStr("https://hc.example.com/hunter4")


def test_a_heartbeat_url_that_is_none_is_refused_without_showing_it():
    with pytest.raises(ValidationError) as caught:
        Settings(heartbeat_url="ftp://hunter4")
    assert "hunter4" not in str(caught.value)


def test_secrets_are_never_printed():
    settings = Settings(webhook_token="hunter2", control_token="hunter3", heartbeat_url="https://x/hunter4")
    assert "hunter" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_wrong_value_is_not_printed_either():
    with pytest.raises(ValidationError) as caught:
        Settings(webhook_token=["hunter2"])
    assert "hunter2" not in str(caught.value)


# --- what is refused ---


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("listen", "9797", "write HOST:PORT"),
        ("listen", "127.0.0.1:http", "write HOST:PORT"),
        ("listen", "127.0.0.1:65536", "write HOST:PORT"),
        ("prometheus", "localhost:9090", "write a URL such as"),
        ("external_url", "stopgap.example.com", "write a URL such as"),
        ("external_url", "ftp://x", "write a URL such as"),
        ("external_url", "https://", "write a URL such as"),
        ("external_url", "https://me:pw@x", "without user, query and fragment"),
        ("external_url", "https://x/?a=b", "without user, query and fragment"),
        ("external_url", "https://x:99999", "write a URL such as"),
        ("external_url", "https://x/a b", "write a URL such as"),
        ("mode", "live", "'shadow', 'approve' or 'auto'"),
        ("webhook_token", " ", "an empty token would let everybody in"),
        ("heartbeat_url", "hc-ping.com/x", "write a URL such as"),
        ("heartbeat_url", "", "write a URL such as"),
        ("heartbeat_url", "https://x/a b", "write a URL such as"),
        ("heartbeat_url", "https://x:99999/", "write a URL such as"),
        ("heartbeat_every", "500ms", "from 1s to 1h"),
        ("heartbeat_every", "2h", "from 1s to 1h"),
        ("log_level", "loud", "should match pattern"),
        ("max_body", 10, "greater than or equal to 1024"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(name, value, said):
    with pytest.raises(ValidationError, match=said):
        Settings(**{name: value})


@pytest.mark.parametrize("var", ["x", " =x", "a b=x", "=x", "p/q/x=1"])
def test_a_var_that_is_no_assignment_is_refused(var):
    with pytest.raises(ConfigError, match="write NAME=VALUE"):
        Settings(var=[var]).all_vars()


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.0.0.1", "stopgap.example.com", ""])
def test_an_open_door_needs_a_token(host):
    with pytest.raises(ValidationError, match="without a webhook token"):
        Settings(listen=f"{host}:9797")
    assert Settings(listen=f"{host}:9797", webhook_token="x").address[1] == 9797


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_only_this_machine_is_let_in_without_a_token(host):
    assert Settings(listen=f"{host}:0").address == (host.strip("[]"), 0)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("poll_every", ("1s", "30s", "2m"), ("0s", "999ms", "3m")),
        ("resend_delay", ("1s", "1h"), ("0s", "2h")),
    ],
)
def test_a_pace_has_bounds(name, good, bad):
    for text in good:
        Settings(**{name: text})
    for text in bad:
        with pytest.raises(ValidationError, match="write a duration from 1s"):
            Settings(**{name: text})
