"""All that the daemon can be told is listed: with its flag, its variable and its default, and the page is fresh."""

from pathlib import Path

from typer.testing import CliRunner

from stopgap.cli import app
from stopgap.cli.settings import known
from stopgap.settings import Settings

PAGE = Path(__file__).parents[2] / "deploy" / "SETTINGS.md"


def said(*args: str) -> str:
    result = CliRunner().invoke(app, ["settings", *args])
    assert result.exit_code == 0
    return result.stdout


def test_the_page_is_fresh():
    assert PAGE.read_text() == said("--markdown"), "cure: stopgap settings --markdown > deploy/SETTINGS.md"


def test_every_setting_is_listed_once_and_says_what_it_means():
    listed = list(known())
    assert sorted(each.variables[0] for each in listed) == sorted(
        f"STOPGAP_{name.upper()}" for name in Settings.model_fields
    )
    assert all(each.text.endswith(".") for each in listed)


def test_a_secret_has_no_flag_and_may_stand_in_a_file():
    by_name = {each.variables[0]: each for each in known()}
    token, listen = by_name["STOPGAP_WEBHOOK_TOKEN"], by_name["STOPGAP_LISTEN"]
    assert (token.flag, token.variables) == ("", ("STOPGAP_WEBHOOK_TOKEN", "STOPGAP_WEBHOOK_TOKEN_FILE"))
    assert (listen.flag, listen.variables, listen.default) == (
        "--listen",
        ("STOPGAP_LISTEN",),
        "127.0.0.1:9797",
    )


def test_the_list_fits_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = said()
    assert "STOPGAP_MAX_BODY\n    Largest notification, in bytes. Default: 67108864.\n" in text
    assert max(map(len, text.splitlines())) <= 80
