"""Replicas go from one release to the next while alerts come in: the schema first, then one daemon after the other."""

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.replicas import Replica, Replicas, until

import stopgap
from stopgap.store import migrations

RULES = """
rules:
  - name: mock
    match: alertname="Down"
    target: hotel
    do:
      - flag: {{at: "env://{folder}/app.env", set: {{MODE: mock}}}}
    recovered:
      - {{exec: {{argv: ["/bin/true"]}}, every: 100ms}}
    hold: 300ms
  - name: note
    match: alertname="Note"
    target: "{{{{ labels.number }}}}"
    do:
      - exec: {{argv: ["/usr/bin/tee", "-a", "{folder}/noted"], stdin: "{{{{ labels.number }}}}\\n"}}
    guard: {{cooldown: 0s, budget: 9999/1h, budget_global: 9999/1h, storm: 9999/5m}}
"""
ENV = "MODE=normal\n"
NEXT = "0006"
REVISION = f'''"""Next: what a later release might add."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{migrations.HEAD}"


def upgrade() -> None:
    """Add a column, an index and a table."""
    op.add_column("incident", sa.Column("colour", sa.Text(), nullable=False, server_default="red"))
    op.add_column("journal", sa.Column("weight", sa.Integer(), nullable=True))
    op.create_index("ix_journal_at", "journal", ["at"])
    op.create_table("shelf", sa.Column("name", sa.Text(), primary_key=True))
'''


@pytest.fixture
async def replicas(postgres, tmp_path):
    (tmp_path / "app.env").write_text(ENV)
    async with Replicas(tmp_path, postgres.database().url, RULES.format(folder=tmp_path)) as replicas:
        yield replicas


@pytest.fixture
def release(tmp_path) -> Path:
    """Make the next release: this one, and one migration more."""
    package = Path(stopgap.__file__).parent
    shutil.copytree(package, tmp_path / "next" / "stopgap")
    folder = tmp_path / "next" / "stopgap" / "store" / "migrations"
    (folder / "versions" / "v0006_next.py").write_text(REVISION)
    text = (folder / "__init__.py").read_text()
    assert f'HEAD = "{migrations.HEAD}"' in text
    (folder / "__init__.py").write_text(text.replace(f'HEAD = "{migrations.HEAD}"', f'HEAD = "{NEXT}"'))
    return tmp_path / "next"


def upgraded(replica: Replica, release: Path) -> None:
    """Let it be of the next release from its next start on."""
    kept = dict(replica.environ)
    replica.environ = kept | {"PYTHONPATH": f"{release}{os.pathsep}{kept.get('PYTHONPATH', '')}"}


async def migrate(replica: Replica) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stopgap", "migrate"),
        env=replica.environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return said.decode()


async def fire(replicas: Replicas, over: asyncio.Event) -> list[str]:
    """Send one alert after the other, each until somebody takes it; returns those that were taken."""
    taken: list[str] = []
    while not over.is_set():
        number = f"n{len(taken)}"
        for replica in replicas.all.values():
            if await replica.post("firing", alertname="Note", number=number) == 200:
                taken.append(number)
                break
        await asyncio.sleep(0.1)
    return taken


async def phase(replica: Replica, rule: str) -> str:
    status, told = await replica.get("/api/v1/incidents?rule=shop/" + rule)
    return told["incidents"][0]["phase"] if status == 200 and told["incidents"] else str(told)


async def reach(replica: Replica, wanted: str) -> None:
    async def there() -> bool:
        return await phase(replica, "mock") == wanted

    await until(there, 20, replica.said)


async def replace(replica: Replica, release: Path, replicas: Replicas) -> float:
    """End one daemon, and start the next release in its place; returns for how many seconds nobody led."""
    led = await replica.leads()
    began = time.monotonic()
    assert await replica.end(signal.SIGTERM) == 0
    if led:
        await replicas.leader()
    handed_over = time.monotonic() - began
    upgraded(replica, release)
    await replica.start()
    return handed_over


@pytest.mark.timeout(180)
async def test_an_upgrade_from_one_release_to_the_next_loses_nothing_and_doubles_nothing(replicas, release):
    one, two = await replicas.start("one"), await replicas.start("two")
    leader = await replicas.leader()
    assert await one.post("firing", alertname="Down") == 200
    await reach(leader, "mitigated")

    over = asyncio.Event()
    firing = asyncio.create_task(fire(replicas, over))
    later = replicas.make("later")
    del replicas.all["later"]  # it is never started
    upgraded(later, release)
    told = await migrate(later)
    assert told == f"migrated: the database had schema {migrations.HEAD}, now it has schema {NEXT}\n"

    assert await replicas.leader() is leader  # who runs goes on
    follower = two if leader is one else one
    assert await replace(follower, release, replicas) < 8
    assert await replace(leader, release, replicas) < 8
    assert await replicas.leader() is follower

    over.set()
    taken = await firing
    assert len(taken) > 10
    assert await one.post("resolved", alertname="Down") == 200
    await reach(follower, "closed")
    assert (replicas.folder / "app.env").read_text() == ENV

    def noted() -> list[str]:
        return (replicas.folder / "noted").read_text().split()

    await until(lambda: asyncio.sleep(0, len(noted()) >= len(taken)), 60, follower.said)
    assert sorted(noted()) == sorted(taken)


async def test_an_older_daemon_does_not_start_on_a_newer_schema(replicas, release):
    replica = replicas.make("one")
    upgraded(replica, release)
    await migrate(replica)
    old = replicas.make("old")
    with pytest.raises(AssertionError, match="a newer one wrote it; run that version"):
        await old.start()
    assert await old.end() == 2


async def test_an_older_daemon_that_has_to_begin_anew_goes_on_with_the_newer_schema(replicas, release):
    """It ran before the migration came, and may be the only one left until it is replaced."""
    one = await replicas.start("one")
    await replicas.leader()
    two = replicas.make("two")
    upgraded(two, release)
    await migrate(two)
    one.send(signal.SIGSTOP)
    await two.start()
    await until(two.leads, 20, two.said)
    one.send(signal.SIGCONT)
    await until(lambda: asyncio.sleep(0, "deposed" in one.said()), 20, one.said)
    assert await two.end() == 0
    await until(one.leads, 20, one.said)
    assert await one.post("firing", alertname="Note", number="n0") == 200
    await until(lambda: asyncio.sleep(0, (replicas.folder / "noted").is_file()), 20, one.said)
