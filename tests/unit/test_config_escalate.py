"""`escalate`, `messages` and `severity_names` of rule files: what they become, and what is said about wrong ones."""

from datetime import timedelta

import pytest
from tests.catalog_fakes import CATALOG
from tests.rule_files import SITE, problems, read, rule, warnings

from stopgap.config import build_rule
from stopgap.messages import WORDINGS
from stopgap.rule import Escalation
from stopgap.wording import Phrase, Wording

MINUTE = timedelta(minutes=1)
PACK = """
vars: {status: https://status.example.com}
severity_names: {P0: SEV-1, P1: Level 2}
messages:
  down:
    subject: "{{ severity }}: bookings are degraded"
    body: |
      We are looking into it: {{ summary }}
      Follow {{ vars.status }}, next news at {{ next_update_at }}.
  never-used: {body: x}
"""


def escalate(*entries):
    return rule("ladder: []\nescalate:\n" + "\n".join(f"  - {entry}" for entry in entries))


def entries(tmp_path, *given, **files):
    (loaded,) = read(tmp_path, {"p/a.yaml": escalate(*given), **files}).rules
    return loaded.escalate


def test_events_and_clocks_load(tmp_path):
    assert entries(
        tmp_path,
        "{when: mitigated, notify: default}",
        "{after: 15m, notify: [default]}",
        "{every: 30m, notify: default, even_if: mitigated, message: update}",
        "{when: mitigation_lost, after: 5m, notify: default, even_if: [mitigated, acknowledged]}",
    ) == (
        Escalation("mitigated", ("default",)),
        Escalation("opened", ("default",), after=15 * MINUTE),
        Escalation("", ("default",), every=30 * MINUTE, even_if=frozenset({"mitigated"}), message="update"),
        Escalation(
            "mitigation_lost",
            ("default",),
            after=5 * MINUTE,
            even_if=frozenset({"mitigated", "acknowledged"}),
        ),
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{notify: default}", "escalate[0]: it does not say when, write one of when: mitigated, after: 15m, every: 30m"),
        ("{every: 30m, after: 5m, notify: default}", "escalate[0].after: `after` beside `every`, which counts from the opening"),
        ("{every: 30m, when: opened, notify: default}", "escalate[0].when: `when` beside `every`"),
        ("{every: 30s, notify: default}", "escalate[0].every: oftener than every 1m"),
        ("{after: 0s, notify: default}", "escalate[0].after: no time at all"),
        ("{after: soon, notify: default}", "escalate[0].after: 'soon' is not a duration"),
        ("{when: opened, even_if: mitigated, notify: default}", "`even_if` is for `after` and `every`"),
        ("{after: 5m, even_if: closed, notify: default}", "escalate[0].even_if: `closed` is not known here"),
        ("{when: closed, after: 5m, notify: default}", "no clock rings after `closed`"),
        ("{when: notified, notify: default}", "`notified` says that somebody was told, and to tell that would never end"),
        ("{when: mitigatd, notify: default}", "`mitigatd` is no event, did you mean `mitigated`?"),
        ("{when: opened, notify: nobody}", "escalate[0].notify: no contact is called `nobody`"),
        ("{when: opened, notify: default, message: updat}", "no message is called `updat`, did you mean `update`?"),
        ("{when: opened, notify: default, message: dwn}", "no message is called `dwn`, did you mean `down`?"),
        ("{when: approval_requested, notify: default, message: update}", "a request for approval has its own text"),
        ("{after: 5m, untill: x, notify: default}", "unknown key `untill`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_entry_is_said(tmp_path, entry, said):
    found = problems(tmp_path, {"p/pack.yaml": PACK, "p/a.yaml": escalate(entry)})
    assert any(said in each for each in found), found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["{when: mitigated, after: 5m, notify: default}"], "a clock stands still while the incident is mitigated"),
        (["{when: acknowledged, after: 5m, notify: default}"], "once the incident is acknowledged: this one never rings"),
        (["{when: closed, notify: customers}"], "`customers` hears of the end only if it was told before"),
    ],
)  # fmt: skip
def test_what_is_odd_about_an_entry_is_said(tmp_path, given, said):
    site = "contacts: {default: {url_env: CHAT}, customers: {url_env: CHAT}}\n"
    loaded = read(tmp_path, {"site.yaml": site, "p/a.yaml": escalate(*given)})
    assert [text for text in warnings(loaded) if said in text]


@pytest.mark.parametrize(
    "given",
    [
        ["{when: mitigated, after: 5m, notify: default, even_if: mitigated}"],
        ["{when: closed, notify: default}"],
        ["{when: closed, notify: customers}", "{every: 1h, notify: customers}"],
        ["{when: resolved, notify: customers}", "{when: opened, notify: customers}"],
    ],
)
def test_nothing_is_odd_about_these(tmp_path, given):
    site = "contacts: {default: {url_env: CHAT}, customers: {url_env: CHAT}}\n"
    acting = "do: [{restart: 'systemd://x'}]\nverify: [{http: 'http://x'}]"
    files = {
        "site.yaml": site,
        "p/a.yaml": escalate(*given).replace("ladder: []", acting.replace("\n", "\n    ")),
    }
    assert warnings(read(tmp_path, files)) == []


def test_a_pack_without_a_default_contact_is_a_warning(tmp_path):
    loaded = read(tmp_path, {"site.yaml": "", "p/a.yaml": rule("ladder: []")})
    assert warnings(loaded) == ["no contact is called `default`: nobody hears when automation gives up"]


# --- messages ---


def test_a_rule_holds_the_messages_that_it_uses_with_its_vars_in_them(tmp_path):
    files = {"p/pack.yaml": PACK, "p/a.yaml": escalate("{when: opened, notify: default, message: down}")}
    (loaded,) = read(tmp_path, files).rules
    assert loaded.messages == {
        "down": Wording(
            Phrase.parse("{{ severity }}: bookings are degraded"),
            Phrase.parse(
                "We are looking into it: {{ summary }}\n"
                "Follow {{ vars.status }}, next news at {{ next_update_at }}."
            ).bound({"status": "https://status.example.com"}),
        )
    }
    assert loaded.vars == {"status": "https://status.example.com"}
    assert loaded.severity_names == {"P0": "SEV-1", "P1": "Level 2"}
    assert build_rule(loaded.document, CATALOG) == loaded


def test_a_message_that_no_rule_uses_changes_no_rule(tmp_path):
    entry = escalate("{when: opened, notify: default, message: down}")
    before = read(tmp_path, {"p/pack.yaml": PACK, "p/a.yaml": entry}).rules[0].version
    other = PACK.replace("{body: x}", "{body: y}")
    assert read(tmp_path, {"p/pack.yaml": other, "p/a.yaml": entry}).rules[0].version == before
    other = PACK.replace("degraded", "down")
    assert read(tmp_path, {"p/pack.yaml": other, "p/a.yaml": entry}).rules[0].version != before


def test_nearer_to_the_rule_wins_and_the_shipped_ones_can_be_replaced(tmp_path):
    files = {
        "site.yaml": SITE + "messages: {down: {body: site}, update: {body: ours}}\n",
        "p/pack.yaml": "messages: {down: {body: pack}}\n",
        "p/a.yaml": escalate("{when: opened, notify: default, message: down}"),
        "q/b.yaml": rule(
            "messages: {down: {body: own}}\nladder: []\n"
            "escalate: [{when: opened, notify: default, message: down}]"
        ),
        "r/c.yaml": escalate("{when: opened, notify: default, message: down}"),
    }
    loaded = {each.pack: each for each in read(tmp_path, files).rules}
    bodies = {pack: each.messages["down"].body for pack, each in loaded.items()}
    assert bodies == {"p": Phrase.parse("pack"), "q": Phrase.parse("own"), "r": Phrase.parse("site")}
    assert {each.messages["update"].body for each in loaded.values()} == {Phrase.parse("ours")}


def test_shipped_messages_need_no_definition(tmp_path):
    for name in WORDINGS:
        (entry,) = entries(tmp_path, f"{{when: opened, notify: default, message: {name}}}")
        assert entry.message == name


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('{body: "see {{ incedent.id }}"}', "p/pack.yaml:1:27: messages.x.body: no field is called `incedent.id`, did you"),
        ('{subject: "{{ labels }}", body: x}', "messages.x.subject: labels alone is not a value, name one: labels.x"),
        ('{body: "{{ secrets.key }}"}', "no field is called `secrets.key`, the fields are incident.id, rule,"),
        ('{body: "{% if x %}"}', "a statement or a comment is not allowed"),
        ('{body: "{{ summary"}', "`{{` is not closed in its line"),
        ('{body: "{{ summary | upper }}"}', "`{{ summary | upper }}` is no field"),
        ("{subject: x}", "messages.x: `body` is missing"),
        ("{body: 5}", "messages.x.body: `5` is a number, not a text"),
        ('{body: ""}', "messages.x.body: nothing stands here"),
        ("{body: x, title: y}", "unknown key `title`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_message_is_said_even_if_nobody_uses_it(tmp_path, message, said):
    found = problems(
        tmp_path, {"p/pack.yaml": f"messages: {{x: {message}}}\n", "p/a.yaml": rule("ladder: []")}
    )
    assert [each for each in found if said in each], found


def test_a_var_that_is_not_there_is_said_where_the_message_stands(tmp_path):
    files = {
        "p/pack.yaml": 'vars: {status: x}\nmessages: {x: {body: "{{ vars.statsu }}"}}\n',
        "p/a.yaml": escalate("{when: opened, notify: default, message: x}"),
    }
    assert problems(tmp_path, files) == [
        "p/pack.yaml:2:22: messages.x.body: no var is called `statsu`, did you mean `status`?"
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("{P4: SEV-5}", "severity_names.P4"),
        ("{P0: '{{ x }}'}", "severity_names.P0: `{{ x }}` is not well formed"),
    ],
)
def test_what_is_wrong_with_severity_names_is_said(tmp_path, names, said):
    found = problems(tmp_path, {"p/pack.yaml": f"severity_names: {names}\n", "p/a.yaml": rule("ladder: []")})
    assert [each for each in found if said in each], found
