"""Exec runs a command of ours: bounded, without a shell, with its own way back."""

import json
import sys
from datetime import timedelta

import pytest
from pydantic import SecretStr

from stopgap import process
from stopgap.action import Moment, Restored, Settled
from stopgap.actions import Exec
from stopgap.errors import PermanentError, TemporaryError

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=20))
EXEC = Exec(None)


def python(code: str, *args: str, **more):
    return Exec.params(argv=[sys.executable, "-c", code, *args], **more)


async def test_the_command_gets_its_variables_its_stdin_and_the_key(tmp_path):
    code = "import json, os, sys; json.dump([dict(os.environ), sys.stdin.read()], open(sys.argv[1], 'w'))"
    params = python(code, str(tmp_path / "seen"), env={"TOKEN": SecretStr("hush")}, stdin=SecretStr("quiet"))
    await EXEC.run(params, None, NOW)
    seen, stdin = json.loads((tmp_path / "seen").read_text())
    assert seen["TOKEN"] == "hush"
    assert seen["STOPGAP_IDEMPOTENCY_KEY"] == NOW.key
    assert stdin == "quiet"


@pytest.mark.parametrize(("one", "other"), [("y" * 400 + "a", "y" * 400 + "b"), ("a\tb", "a\nb")])
def test_two_commands_that_look_alike_in_a_line_are_two_resources(one, other):
    names = [EXEC.resource(EXEC.params(argv=["/bin/x", arg])) for arg in (one, other, one)]
    assert names[0] == names[2] != names[1]
    assert all(len(name) < 300 for (name,) in names)
    assert EXEC.resource(EXEC.params(argv=["/bin/x", "a b"])) == ("exec:/bin/x 'a b'",)


async def test_a_failure_says_what_the_command_said_without_secrets():
    code = "import os, sys; sys.exit('no login with ' + os.environ['TOKEN'] + ' and ' + sys.stdin.read())"
    params = python(code, env={"TOKEN": SecretStr("hush")}, stdin=SecretStr("quiet"))
    with pytest.raises(PermanentError, match=r"exited with 1: no login with \*\*\* and \*\*\*"):
        await EXEC.run(params, None, NOW)


async def test_no_end_in_time_is_unknown_for_an_act_and_temporary_for_a_question():
    short = Moment(key="k", timeout=timedelta(seconds=0.2))
    with pytest.raises(process.TimedOut):
        await EXEC.run(Exec.params(argv=["sleep", "30"]), None, short)
    with pytest.raises(TemporaryError):
        await EXEC.observe(Exec.params(argv=["true"], observe=["sleep", "30"]), short)


async def test_a_command_that_cannot_start_is_known_not_done():
    with pytest.raises(PermanentError, match="cannot be run"):
        await EXEC.run(Exec.params(argv=["/no/such"]), None, NOW)


async def test_without_a_question_the_outcome_stays_unclear():
    params = Exec.params(argv=["true"], revert=["true"])
    assert await EXEC.observe(params, NOW) is None
    assert EXEC.settled(params, None, None) is Settled.UNCLEAR
    assert EXEC.settled_revert(params, None, None) is Settled.UNCLEAR
    assert not EXEC.idempotent(params)
    assert (await EXEC.revert(params, None, None, NOW)).result is Restored.REVERTED


async def test_without_a_way_back_nothing_is_held():
    params = Exec.params(argv=["true"])
    assert not EXEC.reverts(params)
    assert (await EXEC.revert(params, None, None, NOW)).result is Restored.NOTHING
    assert EXEC.undo_by_hand(params, None) == "nothing"


async def test_a_question_that_fails_afterwards_does_not_undo_the_success(tmp_path):
    path = tmp_path / "x"
    path.write_text("")
    params = Exec.params(argv=["rm", str(path)], observe=["cat", str(path)])
    before = await EXEC.observe(params, NOW)
    assert await EXEC.run(params, before, NOW) == {"after": None}


async def test_a_hostile_word_stays_one_argument(tmp_path):
    hostile = "$(touch " + str(tmp_path / "owned") + "); `id` && x"
    await EXEC.run(Exec.params(argv=["echo", hostile]), None, NOW)
    assert not (tmp_path / "owned").exists()
    assert "\x1b" not in EXEC.describe(Exec.params(argv=["echo", "\x1b[31m"]))
