"""What a command says that cannot do what was asked: in our words, on 80 columns, with the cure."""

import asyncio
import os
import pty

import pytest
import typer
from tests.journal_examples import HandClock
from typer.testing import CliRunner

from stopgap.cli import app, screen
from stopgap.store import open_store


def run(*args, **env):
    """Run a command in this process, without the tester's own settings."""
    ours = {name: None for name in os.environ if name.startswith("STOPGAP_")}
    return CliRunner().invoke(app, list(args), env={**ours, "COLUMNS": "80", **env})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--retention", "3d"],
            "stopgap: retention: write 7d or longer, such as 90d, or 0 to keep everything\n",
        ),
        (["--listen", "0.0.0.0"], "stopgap: listen is '0.0.0.0': write HOST:PORT, such as 127.0.0.1:9797\n"),
    ],
)
def test_a_wrong_setting_is_told_in_our_own_words(given, said):
    refused = run("serve", *given)
    assert (refused.exit_code, refused.stderr) == (2, said)


@pytest.mark.parametrize(
    ("command", "cure"),
    [
        (["incidents"], "Ask a running daemon: --url URL, without --data"),
        (["brake", "on", "--why", "x"], "Ask a running daemon: --url URL, without --data"),
        (["migrate"], "stop it first, or name another --data"),
    ],
    ids=["incidents", "brake", "migrate"],
)
async def test_the_directory_of_a_running_daemon_is_left_alone_and_what_helps_is_said(
    tmp_path, command, cure
):
    store = await open_store(tmp_path, HandClock())
    refused = await asyncio.to_thread(run, *command, "--data", str(tmp_path))
    await store.close()
    assert refused.exit_code == 1
    assert f"in use by another stopgap (pid {os.getpid()})" in refused.stderr
    assert cure in refused.stderr


def test_on_a_terminal_the_reason_is_wrapped_and_a_line_to_copy_is_not(monkeypatch):
    master, slave = pty.openpty()
    command = f"pg_dump {'--flag ' * 20}"
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with pytest.raises(typer.Exit):
            screen.fail(f"{'word ' * 30}end\n{command}")
    told = os.read(master, 4096).decode().splitlines()
    os.close(master)
    assert max(map(len, told[:-1])) <= 80
    assert " ".join(told[:-1]) == f"stopgap: {'word ' * 30}end"
    assert told[-1] == command
