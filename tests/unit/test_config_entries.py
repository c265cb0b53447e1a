"""Steps and probes that are written almost as they should be: how they are written is shown, with their own parameters."""

import pytest
from tests.rule_files import rule, write

from stopgap.config import load
from stopgap.errors import ConfigError
from stopgap.stock import bare_context, build_catalog

CATALOG = build_catalog(bare_context())


def problems(root, body):
    with pytest.raises(ConfigError) as caught:
        load(write(root, {"p/a.yaml": rule(body)}), CATALOG, environ={"CHAT": "json://chat"})
    return [str(problem).removeprefix(f"{root}/") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("step", "shape"),
    [
        ("exec: supervisorctl restart api", "exec: {argv: […]}"),
        ("exec: [supervisorctl, restart, api]", "exec: {argv: […]}"),
        ("exec: 5", "exec: {argv: […]}"),
        ("flag: env:///etc/app.env", "flag: {at: …, set: {…}}"),
        ("service: systemd://api", "service: {at: …, state: …}"),
    ],
)
def test_a_step_that_is_no_table_is_shown_as_one(tmp_path, step, shape):
    (said,) = problems(tmp_path, f"do: [{{{step}}}]")
    key = step.partition(":")[0]
    assert said.startswith(f"p/a.yaml:4:{len(key) + 13}: rules[0].do[0].{key}: ")
    assert said.endswith(f" is not a table, write {shape}")


def test_a_text_that_looks_like_a_secret_is_not_repeated(tmp_path):
    word = "ghp_" + "a1B2" * 9
    (said,) = problems(tmp_path, f"do: [{{exec: {word}}}]")
    assert word not in said
    assert "`***` is not a table, write exec: {argv: […]}" in said


@pytest.mark.parametrize(
    ("entry", "key", "shape"),
    [
        ("http: http://x, status: 204", "status", "http: {url: …, status: …}"),
        ("http: {url: http://x}, contains: ok", "contains", "http: {url: …, contains: …}"),
        ("tcp: {}, address: localhost:80", "address", "tcp: {address: …}"),
    ],
)
def test_a_parameter_beside_its_probe_is_told_to_belong_into_it(tmp_path, entry, key, shape):
    (said,) = problems(tmp_path, f"do: [{{wait: 1s}}]\nverify:\n  - {{{entry}}}")
    place = f"p/a.yaml:6:{10 + entry.index(f'{key}:')}: rules[0].verify[0].{key}"
    assert said == f"{place}: `{key}` does not stand here, it is a parameter: write {shape}"


def test_a_parameter_beside_its_step_is_told_likewise(tmp_path):
    (said,) = problems(tmp_path, "do: [{wait: 1s, for: 2s}]")
    assert said.endswith("`for` does not stand here, it is a parameter: write wait: {for: …}")


def test_a_key_that_nobody_knows_is_told_all_that_stand_there(tmp_path):
    (said,) = problems(tmp_path, "do: [{wait: 1s}]\nverify: [{http: http://x, colour: red}]")
    assert said.endswith("unknown key `colour`, the keys here are after, within, for, every, timeout, json")
    (said,) = problems(tmp_path, "do: [{wait: 1s, verify: x}]")
    assert "it is for the whole rung: write it beside `do`" in said
