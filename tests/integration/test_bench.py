"""The bench itself works: real servers, real loads, a handful of alerts; what it measures here means nothing."""

import json

import pytest
from tests.bench import groups
from tests.bench.__main__ import main, run
from tests.bench.commands import webhook
from tests.bench.ground import Ground
from tests.bench.publish import publish
from tests.bench.scale import TINY
from tests.bench.servers import NotMeasured


def test_a_tiny_run_measures_prints_and_draws(tmp_path, capsys):
    chosen = [group for group in groups.GROUPS if group.name == "latency"]
    found = run(tmp_path, TINY, chosen)
    (latency,) = found["sections"]
    assert all(row["value"] > 0 for row in latency["rows"])
    assert any(row["name"] == "at 50/s: p50" for row in latency["rows"])
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())
    written = json.loads(json.dumps(found))
    page = publish(written, tmp_path / "figures")
    assert "idle: p50" in page.read_text()
    assert (tmp_path / "figures" / "storm.svg").read_text().startswith("<svg")


def test_a_webhook_that_is_not_installed_is_said_with_its_cure(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.bench.commands.PROGRAM", "webhook-that-nobody-has")
    with pytest.raises(NotMeasured, match="apt-get install"), webhook(Ground(tmp_path, TINY)):
        pass


def test_what_cannot_be_measured_ends_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tests.bench.commands.PROGRAM", "webhook-that-nobody-has")
    assert main(["--quick", "--only", "exec", "--work", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "could not measure: webhook is not installed" in capsys.readouterr().out
