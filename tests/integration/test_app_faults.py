"""The daemon when its store or its folder is not what it should be."""

from pathlib import Path
from typing import Any

import pytest
from tests.prometheus_server import free_port

from stopgap.app import TOKEN_FILE, App, token_in
from stopgap.errors import StoreError
from stopgap.settings import Settings

RULES = """
rules:
  - name: tell
    match: alertname="Down"
    ladder: []
"""


async def started(folder: Path) -> App:
    (folder / "rules").mkdir()
    (folder / "rules" / "shop.yaml").write_text(RULES)
    app = App(
        Settings(
            rules=folder / "rules", data=folder / "data", listen=f"127.0.0.1:{free_port()}", var=(), vars=()
        )
    )
    await app.start()
    return app


def test_a_token_file_that_a_full_disk_left_empty_is_filled(tmp_path):
    (tmp_path / TOKEN_FILE).touch()
    word = token_in(tmp_path)
    assert len(word.get_secret_value()) > 20
    assert token_in(tmp_path) == word
    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600


async def unwritable(*_: object) -> Any:
    raise StoreError("disk full")


async def test_a_mistake_in_the_rules_is_answered_even_when_the_store_is_broken(tmp_path, monkeypatch):
    app = await started(tmp_path)
    try:
        (tmp_path / "rules" / "shop.yaml").write_text("rules: 7")
        monkeypatch.setattr(app.store, "control", unwritable)
        answer = await app.reload()
        assert answer.problems
        assert answer.rules == 1
        assert b"stopgap_config_last_reload_successful 0.0" in app.metrics.render()
    finally:
        await app.stop()


async def test_a_reload_that_the_store_does_not_take_counts_as_failed(tmp_path, monkeypatch):
    app = await started(tmp_path)
    try:
        monkeypatch.setattr(app.store, "remember", unwritable)
        with pytest.raises(StoreError):
            await app.reload()
        assert b"stopgap_config_last_reload_successful 0.0" in app.metrics.render()
    finally:
        await app.stop()
