"""Secrets in clear text are found and never shown; files that everybody may write are told."""

import os
import stat
from types import SimpleNamespace

import pytest
from tests.catalog_fakes import CATALOG
from tests.lints import HTTP, found, of_rule, rule, said
from tests.rule_files import SMALLEST, problems, write

from stopgap.config import load
from stopgap.config.clear_text import masked
from stopgap.config.findings import Findings
from stopgap.config.permissions import judge_permissions

CODE = "secret-in-yaml"
A = "Ab1" * 20  # so that no scanner takes this file for a leak

SECRETS = {
    "an AWS access key": "AKIA" + A.upper()[:16],
    "a GitHub token": "ghp" + "_" + A[:36],
    "a GitLab token": "glpat" + "-" + A[:20],
    "a Slack token": "xoxb" + "-" + A[:12],
    "the address of a Slack webhook": "https://hooks.slack" + f".com/services/T{A[:8]}/B{A[:8]}/{A[:24]}",
    "a Stripe key": "sk_live" + "_" + A[:24],
    "a Google API key": "AIza" + A[:35],
    "a SendGrid key": f"SG.{A[:22]}.{A[:43]}",
    "an npm token": "npm" + "_" + A[:36],
    "a Telegram token": f"123456789:AA{A[:33]}",
    "a token of Fly.io": f"FlyV1 fm2_{A}",
    "a signed token (JWT)": f"eyJ{A[:20]}.eyJ{A[:20]}.{A}",
    "a private key": "-----BEGIN RSA PRIVATE" + " KEY-----",
    "a password in a URL": "postgres://app:hunter2@db/shop",
    "a token in a URL": "https://x/?a=b&access_token=hunter2hunter2",
    "a token in a header": "Bearer " + A,
}


def set_to(value: str, key: str = "SOME") -> str:
    return f"do: [{{flag: {{at: 'env:///x', set: {{{key}: \"{value}\"}}}}}}]\nverify: [{HTTP}]"


@pytest.mark.parametrize(("what", "secret"), SECRETS.items())
def test_what_looks_like_a_secret_is_told_and_not_shown(tmp_path, what, secret):
    (problem,) = found(tmp_path, {"p/a.yaml": rule(set_to(secret))}, CODE)
    assert problem.text == f"{what} stands here in clear text"
    assert (problem.line, problem.key) == (4, "rules[0].do[0].flag.set.SOME")
    assert secret[8:20] not in str(problem)
    assert problem.warning


@pytest.mark.parametrize(
    "value",
    [
        "postgres://app:{{ secrets.key }}@db/shop",
        "postgres://app@db/shop",
        "postgres://app:$PASSWORD@db/shop",
        "postgres://app:***@db/shop",
        "http://localhost:8000/a@b",
        "https://x/?token={{ secrets.key }}",
        "https://x/?page=12345678901",
        "Bearer {{ secrets.key }}",
        "Basic authentication is off",
        "bearer of bad news",
        "mock",
        "ssh+systemd://deploy@web-1:22/shop.service",
    ],
)
def test_what_only_reminds_of_one_is_not(tmp_path, value):
    files = {"p/pack.yaml": "name: p\nsecrets: [key]", "p/a.yaml": rule(set_to(value))}
    assert said(tmp_path, files, CODE) == []


@pytest.mark.parametrize(
    "key",
    [
        "PMS_PASSWORD",
        "password",
        "API_KEY",
        "apikey",
        "SESSION_TOKEN",
        "db.secret",
        "X-Api-Key",
        "AWS_SECRET_ACCESS_KEY",
    ],
)
def test_a_value_under_a_name_that_says_secret_is_one(tmp_path, key):
    (text,) = of_rule(tmp_path, set_to("hunter2hunter2", key), CODE)
    assert text.endswith(f"the value of `{key}` stands here in clear text")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PASSWORD_RESET_ENABLED", "hunter2hunter2"),
        ("TOKEN_TTL_SECONDS", "1234567890"),
        ("MAX_TOKEN", "1234567890"),
        ("PMS_PASSWORD", "disabled"),
        ("PMS_PASSWORD", "a1"),
        ("PMS_PASSWORD", "{{ secrets.key }}"),
        ("PMS_PASSWORD", "/run/secrets/pms1"),
        ("PMS_TOKEN", "vault://kv/pms1"),
        ("KEYBOARD", "hunter2hunter2"),
    ],
)
def test_a_name_or_a_value_that_says_something_else_is_none(tmp_path, key, value):
    files = {"p/pack.yaml": "name: p\nsecrets: [key]", "p/a.yaml": rule(set_to(value, key))}
    assert said(tmp_path, files, CODE) == []


def test_vars_lists_and_the_site_are_looked_at_too(tmp_path):
    url = SECRETS["a password in a URL"]
    files = {
        "site.yaml": f"contacts: {{default: {{url_env: CHAT}}}}\nvars: {{a: '{url}'}}",
        "p/pack.yaml": f"name: p\nvars: {{b: '{url}'}}",
        "p/a.yaml": rule(
            f"do: [{{restart: 'systemd://x'}}]\nverify: [{HTTP}]\nper: [x, '{SECRETS['a GitLab token']}']"
        ),
    }
    assert [each.key for each in found(tmp_path, files, CODE)] == ["rules[0].per[1]", "vars.b", "vars.a"]


def test_an_error_about_such_a_value_does_not_show_it_either(tmp_path):
    secret = SECRETS["a password in a URL"]
    files = {
        "p/pack.yaml": f"name: p\ncontacts: {{x: {{url_env: '{secret}'}}}}",
        "p/a.yaml": rule(f"mode: '{secret}'\nhold: '{secret}'\n{set_to('a')}"),
    }
    said_of_all = problems(tmp_path, files)
    assert len(said_of_all) == 3
    assert "hunter2" not in "".join(said_of_all)
    assert "***" in "".join(said_of_all)


@pytest.mark.parametrize("secret", SECRETS.values())
def test_a_line_is_shown_with_stars_for_secrets(secret):
    line = f'  key: "{secret}", other: well'
    shown = masked(line)
    assert len(shown) == len(line)
    assert secret[12:18] not in shown
    assert shown.endswith('", other: well')


def test_the_value_of_a_secret_name_is_shown_with_stars_and_others_as_they_are():
    assert masked('set: {DB_PASSWORD: "hunter2hunter2", MODE: "mock1mock1"}') == (
        'set: {DB_PASSWORD: "**************", MODE: "mock1mock1"}'
    )
    assert masked("DB_PASSWORD: mock") == "DB_PASSWORD: mock"


def test_a_line_too_long_to_be_looked_at_is_not_shown_at_all():
    line = "a.b" * 10_000
    assert masked(line) == "*" * len(line)
    assert masked("a.b" * 1000) == "a.b" * 1000


# --- world-writable ---


def test_a_file_or_directory_that_everybody_may_write_is_told(tmp_path):
    root = write(tmp_path / "rules", {"p/a.yaml": SMALLEST, "q/a.yaml": SMALLEST, "q/pack.yaml": "name: q"})
    (root / "p").chmod(0o777)
    (root / "q" / "pack.yaml").chmod(0o666)
    (root / "q").chmod(0o775)
    told = [
        each
        for each in load(root, CATALOG, environ={"CHAT": "json://x"}).warnings
        if each.code == "world-writable"
    ]
    assert [(each.path, each.hint) for each in told] == [
        (str(root / "p"), "chmod o-w p"),
        (str(root / "q" / "pack.yaml"), "chmod o-w pack.yaml"),
    ]
    assert "this file" in told[1].text


def test_the_directory_itself_is_told(tmp_path):
    root = write(tmp_path / "rules", {"p/a.yaml": SMALLEST})
    root.chmod(0o1777)
    (told,) = found(root, {}, "world-writable")
    assert told.path == str(root)
    assert "in this directory" in told.text


def test_of_what_is_not_there_nothing_is_said_here(tmp_path):
    findings = Findings()
    judge_permissions(tmp_path / "gone.yaml", findings)
    assert findings.warnings == ()


def test_a_mount_that_nobody_can_write_is_none(tmp_path, monkeypatch):
    root = write(tmp_path / "rules", {"p/a.yaml": SMALLEST})
    (root / "p").chmod(0o777)
    assert stat.S_IMODE((root / "p").stat().st_mode) == 0o777
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert found(root, {}, "world-writable") == []
