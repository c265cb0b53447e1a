"""What a step says of itself is checked and said without I/O, and shows no secret."""

import asyncio
import re
import textwrap
from datetime import timedelta

import pytest
from pydantic import SecretStr, ValidationError
from ruamel.yaml import YAML
from tests.virtual import virtually

from stopgap import actions
from stopgap.action import Danger, Moment, Settled
from stopgap.actions import SHIPPED, build
from stopgap.actions.retry_after import retry_after

NOW = Moment(key="k", timeout=timedelta(seconds=30))


class Nothing:
    """A context of which nothing is reached."""

    http = prometheus = contacts = None


ALL = build(Nothing())


def example(action):
    """Load the first example of an action's doc as its parameters."""
    source = re.search(r"```yaml\n(.*?)```", textwrap.dedent(f"    {type(action).__doc__}"), re.DOTALL)
    assert source, f"{action.name} has no example"
    given = YAML(typ="safe").load(source[1])[action.name]
    return action.params(**(given if isinstance(given, dict) else {action.params.scalar: given}))


def test_the_shipped_actions_are_there_by_name():
    assert set(ALL) >= {"flag", "restart", "service", "scale", "http", "exec", "notify", "wait"}


def test_third_parties_join_and_two_of_a_name_are_refused(monkeypatch):
    class Entry:
        @staticmethod
        def load():
            return type("Mine", (actions.Wait,), {"name": "mine"})

    monkeypatch.setattr(actions, "entry_points", lambda group: [Entry] if group == "stopgap.actions" else [])
    assert "mine" in build(Nothing())
    monkeypatch.setattr(actions, "entry_points", lambda group: [Entry, Entry])
    with pytest.raises(ValueError, match="two actions are called 'mine'"):
        build(Nothing())


@pytest.mark.parametrize("kind", SHIPPED)
def test_each_example_loads_and_describes_itself_in_one_line(kind):
    action = ALL[kind.name]
    params = example(action)
    for text in (action.describe(params), *action.resource(params)):
        assert text
        assert text.isprintable()
    assert isinstance(action.idempotent(params), bool)
    assert action.danger in Danger
    assert action.timeout > timedelta()
    if not action.reverts(params):
        assert action.undo_by_hand(params, None)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("flag", {"at": "env:///x", "set": {"URL": SecretStr("hush")}}),
        ("flag", {"at": "fly://app", "set": {"URL": "x"}, "back_to": {"URL": SecretStr("hush")}}),
        ("http", {"url": SecretStr("https://hooks.example.com/hush"), "revert": {"body": SecretStr("hush")}}),
        (
            "http",
            {
                "url": "https://u:hush@example.com/x?token=hush#hush",
                "headers": {"Authorization": SecretStr("hush")},
                "revert": {},
            },
        ),
        (
            "exec",
            {"argv": ["x"], "env": {"A": SecretStr("hush")}, "stdin": SecretStr("hush"), "revert": ["y"]},
        ),
    ],
)
def test_no_secret_is_shown(name, given):
    action = ALL[name]
    params = action.params(**given)
    before = {key: {"value": "hush", "form": "hush"} for key in given.get("set", {})}
    shown = [
        action.describe(params),
        action.undo_by_hand(params, before or {"stdout": "hush"}),
        *action.resource(params),
    ]
    assert "hush" not in str(shown)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("flag", {"at": "env:///x", "set": {}}, "at least 1"),
        ("flag", {"at": "systemd://x", "set": {"A": "1"}}, "cannot hold flags"),
        (
            "flag",
            {"at": "fly://x", "set": {"A": "1", "B": "2"}, "back_to": {"A": "0"}},
            "add back_to with a value for B",
        ),
        ("flag", {"at": "env:///x", "set": {"A": "1"}, "back_to": {"B": "0"}}, "which set does not"),
        ("flag", {"at": "env:///x", "set": {"A": 1}}, "string"),
        ("flag", {"at": "env:///x", "set": {"A": "1"}, "when": "now"}, "not permitted"),
        ("restart", {"at": "env:///x"}, "cannot restart"),
        ("service", {"at": "fly://x", "state": "started"}, "cannot start and stop"),
        ("service", {"at": "systemd://x", "state": "up"}, "'started' or 'stopped'"),
        ("scale", {"at": "fly://x", "count": "3", "min": 1, "max": 2}, "not within"),
        (
            "scale",
            {"at": "fly://x", "count": "3", "memory": "512", "min": 1, "max": 600},
            "either count or memory",
        ),
        ("scale", {"at": "fly://x", "min": 1, "max": 2}, "either count or memory"),
        ("scale", {"at": "fly://x", "count": "3", "min": 4, "max": 2}, "more than max"),
        ("scale", {"at": "compose://p/s", "memory": "512", "min": 1, "max": 600}, "cannot change memory"),
        ("scale", {"at": "fly://x", "count": "3"}, "Field required"),
        ("scale", {"at": "fly://x", "count": "; reboot", "min": 1, "max": 2}, "not a size"),
        ("scale", {"at": "fly://x", "count": True, "min": 1, "max": 2}, "not a size"),
        ("http", {"url": "file:///etc/shadow"}, "not a web address"),
        ("http", {"url": "http://[x"}, "not a web address"),
        ("http", {"url": "http://x/a\nb"}, "not a web address"),
        ("http", {"url": "http://x", "headers": {"A": "a\r\nB: b"}}, "one line"),
        ("http", {"url": "http://x", "headers": {"A b": "a"}}, "match pattern"),
        ("http", {"url": "http://x", "json": {}, "body": "x"}, "either json or body"),
        ("http", {"url": "http://x", "revert": {"method": "PUT"}}, "add observe"),
        ("exec", {"argv": []}, "at least 1"),
        ("exec", {"argv": "rm -rf /"}, "tuple"),
        ("exec", {"argv": ["x", SecretStr("hush")]}, "string"),
        ("exec", {"argv": ["x"], "env": {"A=B": "1"}}, "match pattern"),
        ("wait", {"for": "soon"}, "not a duration"),
        ("notify", {"contact": "x", "body": ""}, "at least 1"),
    ],
)
def test_what_is_wrong_is_said_at_load_time(name, given, said):
    with pytest.raises(ValidationError, match=said) as refused:
        ALL[name].params(**given)
    assert "hush" not in str(refused.value)


def test_an_undo_by_hand_names_the_old_values():
    flag = ALL["flag"]
    params = flag.params(at="env:///etc/app.env", set={"A": "1", "B": "2"})
    before = {"A": {"value": "0", "form": "'0'"}, "B": {"value": None, "form": None}}
    assert flag.undo_by_hand(params, before) == "in env:/etc/app.env: A=0, remove B"


@pytest.mark.parametrize(
    ("key", "old"), [("DB_PASSWORD", "hush"), ("api_key", "hush"), ("URL", "postgres://u:hush@db/x")]
)
def test_an_undo_by_hand_hides_what_looks_like_a_secret(key, old):
    flag = ALL["flag"]
    params = flag.params(at="env:///etc/app.env", set={key: "new"})
    assert "hush" not in flag.undo_by_hand(params, {key: {"value": old, "form": old}})


class Hurry:
    def __init__(self, event):
        self._event = event

    async def wait(self):
        await self._event.wait()

    def is_set(self):
        return self._event.is_set()


@virtually
async def test_a_wait_takes_its_time_and_no_longer_when_there_is_no_reason():

    wait, loop = ALL["wait"], asyncio.get_running_loop()
    params = wait.params(**{"for": "10m"})
    await wait.run(params, None, NOW)
    assert loop.time() == pytest.approx(600)
    event = asyncio.Event()
    hurried = Moment(key="k", timeout=timedelta(hours=1), hurry=Hurry(event))
    await wait.run(params, None, hurried)
    assert loop.time() == pytest.approx(1200)
    event.set()
    await wait.run(params, None, hurried)
    assert loop.time() == pytest.approx(1200)
    assert wait.settled(params, None, None) is Settled.DONE


async def test_a_message_goes_to_the_contact_of_the_rules_pack():
    sent = []

    class Contacts:
        async def send(self, *message):
            sent.append(message)

    class Context(Nothing):
        contacts = Contacts()

    notify = actions.Notify(Context())
    moment = Moment(key="k", timeout=timedelta(seconds=5), rule="hotel/pms", target="api")
    await notify.run(notify.params(contact="team", body="gone"), None, moment)
    await notify.run(notify.params(contact="team", body="gone", title="PMS"), None, moment)
    assert sent == [("hotel", "team", "hotel/pms on api", "gone"), ("hotel", "team", "PMS", "gone")]
    assert notify.settled(None, None, None) is Settled.UNCLEAR


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("9" * 50, 3600),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("²", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 3600),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(text, seconds):
    assert retry_after(text) == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("key", "origin", "takes_back"),
    [
        ("INC-1/0/2/do/1", "INC-1/0/2", False),
        ("INC-1/0/2/do/3", "INC-1/0/2", False),
        ("INC-1/0/2/revert/1", "INC-1/0/2", True),
        ("INC-1/0/2/activate/1", "INC-1/0/2/activate", False),
        ("INC-1/0/2/reactivate/2", "INC-1/0/2/activate", False),
        ("check", "check", False),
        ("INC-1/7", "INC-1/7", False),
    ],
)
def test_a_step_and_its_revert_have_one_origin(key, origin, takes_back):
    moment = Moment(key=key, timeout=timedelta(seconds=1))
    assert (moment.origin, moment.takes_back) == (origin, takes_back)
