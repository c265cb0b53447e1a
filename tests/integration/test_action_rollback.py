"""Rollback on a real git work tree, and on the double of flyctl."""

import asyncio
import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.doubles.installed import Doubles

from stopgap.action import Moment, Restored, Settled
from stopgap.actions import Rollback
from stopgap.backends.fly import Halfway
from stopgap.errors import PermanentError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=20))
ACT = Rollback(None)


def git(tree: Path, *args: str) -> str:
    argv = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.com", *args]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "app"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch", "main")
    for text in ("one", "two", "three"):
        (path / "app.py").write_text(text)
        git(path, "add", "app.py")
        git(path, "commit", "--quiet", "-m", text)
        git(path, "tag", text)
    return path


def at(tree: Path, **more: str):
    return Rollback.params(at=f"git://{tree}", **more)


async def observed(params):
    return json.loads(json.dumps(await ACT.observe(params, NOW)))


@pytest.mark.parametrize(("to", "text"), [("", "two"), ("one", "one"), ("HEAD~2", "one"), ("main~1", "two")])
async def test_the_older_version_is_checked_out_and_the_branch_comes_back(tree, to, text):
    params = at(tree, to=to)
    before = await observed(params)
    receipt = await ACT.run(params, before, NOW)
    assert (tree / "app.py").read_text() == text
    assert ACT.settled(params, before, await observed(params)) is Settled.DONE
    assert (await ACT.revert(params, before, receipt, NOW)).result is Restored.REVERTED
    assert (tree / "app.py").read_text() == "three"
    assert git(tree, "branch", "--show-current") == "main"
    assert (await ACT.revert(params, before, receipt, NOW)).result is Restored.NOTHING


async def test_a_repetition_does_not_go_one_version_further_back(tree):
    params = at(tree)
    before = await observed(params)
    await ACT.run(params, before, NOW)
    await ACT.run(params, before, NOW)
    assert (tree / "app.py").read_text() == "two"


async def test_what_somebody_deployed_meanwhile_is_left_alone(tree):
    params = at(tree)
    before = await observed(params)
    receipt = await ACT.run(params, before, NOW)
    git(tree, "checkout", "--quiet", "one")
    assert (await ACT.revert(params, before, receipt, NOW)).result is Restored.DRIFTED
    assert (tree / "app.py").read_text() == "one"
    with pytest.raises(TemporaryError, match="was changed to"):
        await ACT.run(params, before, NOW)


async def test_a_branch_that_moved_on_meanwhile_is_not_followed(tree):
    params = at(tree)
    before = await observed(params)
    receipt = await ACT.run(params, before, NOW)
    git(tree, "branch", "--force", "main", "one")
    await ACT.revert(params, before, receipt, NOW)
    assert (tree / "app.py").read_text() == "three"


async def test_files_that_were_changed_by_hand_are_never_lost(tree):
    (tree / "app.py").write_text("hot fix")
    with pytest.raises(
        PermanentError, match=r"changes that no commit holds \(app\.py\): commit or stash them"
    ):
        await ACT.observe(at(tree), NOW)
    assert (tree / "app.py").read_text() == "hot fix"


async def test_a_hook_of_the_repository_is_not_run(tree):
    hook = tree / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    params = at(tree)
    await ACT.run(params, await observed(params), NOW)
    assert not (tree / "hooked").exists()


async def test_a_version_that_nobody_knows_is_said_before_anything_is_done(tree):
    with pytest.raises(PermanentError, match="knows no version 'v9'"):
        await ACT.rehearse(at(tree, to="v9"), NOW)
    with pytest.raises(PermanentError, match="is at three already"):
        await ACT.rehearse(at(tree, to="three"), NOW)


@pytest.mark.parametrize("to", ["--force", "a..b", "-x", "$(x)", "a b", "../../etc", "a;b", "x" * 201])
def test_what_might_be_taken_for_more_than_a_version_does_not_load(tree, to):
    with pytest.raises(ValidationError):
        at(tree, to=to)


async def test_no_work_tree_is_said(tmp_path):
    with pytest.raises(PermanentError, match="not a git repository"):
        await ACT.observe(Rollback.params(at=f"git://{tmp_path}"), NOW)


async def test_a_cancelled_rollback_leaves_a_whole_version(tree):
    params = at(tree)
    before = await observed(params)
    for seconds in (0, 0.002, 0.01):
        task = asyncio.create_task(ACT.run(params, before, NOW))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not (tree / ".git" / "index.lock").exists()
        assert git(tree, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("to", "image"),
    [("", "hotel:a"), ("v40", "hotel:a"), ("41", None), ("registry.fly.io/hotel:z", "hotel:z")],
)
async def test_a_fly_app_gets_the_image_of_an_older_release(tmp_path, monkeypatch, to, image):
    doubles = Doubles(tmp_path / "bin", monkeypatch)
    params = Rollback.params(at="fly://hotel", to=to)
    before = await observed(params)
    if image is None:
        with pytest.raises(PermanentError, match="nothing to roll back"):
            await ACT.run(params, before, NOW)
        return
    receipt = await ACT.run(params, before, NOW)
    newest = lambda: doubles.state("flyctl")["apps"]["hotel"]["releases"][0]["ImageRef"]  # noqa: E731
    assert newest() == f"registry.fly.io/{image}"
    assert ACT.settled(params, before, await observed(params)) is Settled.DONE
    await ACT.revert(params, before, receipt, NOW)
    assert newest() == "registry.fly.io/hotel:b"


async def test_a_fly_release_that_there_never_was_is_said(tmp_path, monkeypatch):
    Doubles(tmp_path / "bin", monkeypatch)
    with pytest.raises(PermanentError, match="no release 'v9'"):
        await ACT.rehearse(Rollback.params(at="fly://hotel", to="v9"), NOW)


async def test_a_deployment_that_failed_halfway_is_not_known_to_be_undone(tmp_path, monkeypatch):
    doubles = Doubles(tmp_path / "bin", monkeypatch)
    state = doubles.state("flyctl")
    state["apps"]["hotel"]["ill"] = True
    doubles.change("flyctl", state)
    params = Rollback.params(at="fly://hotel")
    before = await observed(params)
    with pytest.raises(Halfway, match="health checks"):
        await ACT.run(params, before, NOW)
    assert ACT.settled(params, before, await observed(params)) is Settled.NOT_DONE
    state = doubles.state("flyctl")
    del state["apps"]["hotel"]["ill"]
    doubles.change("flyctl", state)
    await ACT.run(params, before, NOW)
    assert ACT.settled(params, before, await observed(params)) is Settled.DONE


def test_one_tree_has_one_name():
    names = {
        ACT.resource(Rollback.params(at=at))
        for at in ("git:///srv/app", "git:///srv/app/", "git:///srv//app")
    }
    assert names == {("git:/srv/app",)}


async def test_looking_leaves_the_index_alone(tree):
    index = tree / ".git" / "index"
    (tree / "app.py").touch()
    old = index.read_bytes()
    await observed(at(tree))
    assert index.read_bytes() == old
