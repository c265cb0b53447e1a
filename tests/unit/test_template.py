"""Templates: few nodes, hostile values, secrets that stay masked, and vars that are bound at load time."""

from typing import Any

import pytest
from pydantic import SecretStr

from stopgap.action import reveal
from stopgap.template import (
    LONGEST,
    LONGEST_PROSE,
    Reference,
    RefKind,
    Scope,
    Template,
    TemplateError,
    Unresolved,
    UnsafeLabel,
    bind_tree,
    compile_tree,
    legible,
    render_tree,
)

SCOPE = Scope(
    labels={"job": "Api", "a.b": "dotted", "port": "0080", "empty": ""},
    annotations={"unit": "web.service"},
    vars={"app": "fly://x", "n": "3", "blank": "", "wild": "$(rm) {{ labels.job }}"},
    secrets={"key": SecretStr("s3cret")},
    target="api-1",
    incident_id="INC-1",
)


def render(source: str, scope: Scope = SCOPE, *, prose: bool = False) -> str:
    text = Template.parse(source).render(scope, prose=prose)
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{ labels.job }}", "Api"),
        ('{{ labels["a.b"] }}', "dotted"),
        ("{{ annotations.unit }}", "web.service"),
        ("{{ vars.app }}/{{ target }}", "fly://x/api-1"),
        ("{{ incident.id }}", "INC-1"),
        ("{{ labels.job | lower }}", "api"),
        ("{{ labels.port | int }}", "80"),
        ('{{ labels.none | default("x") }}', "x"),
        ("{{ labels.none | default(7) | int }}", "7"),
        ('{{ labels.none | lower | default("X") }}', "X"),
        ('{{ labels.none | default("X") | lower }}', "x"),
        ('{{ labels.empty | default("x") }}', "x"),
        ('{{ labels.job | default("x") }}', "Api"),
        ('{{ vars.blank | default("x") }}', ""),
        ("{% raw %}{{.Names}}{% endraw %} {{ target }}", "{{.Names}} api-1"),
        ("a{# a remark #}b", "ab"),
        ("a\n{{ target }}\n", "a\napi-1\n"),
        ("{{ vars.wild }}", "$(rm) {{ labels.job }}"),
    ],
)
def test_values_are_put_in_once(source: str, expected: str) -> None:
    assert render(source) == expected


@pytest.mark.parametrize(
    ("source", "offset", "words"),
    [
        ("ab {{ labels }}", 3, "labels alone is not a value; name one: labels.x"),
        ("ab {{ x }}", 3, "unknown name x"),
        ("{{ target }} {{ foo.bar }}", 13, "no value is called foo.bar"),
        ("{{ var.x }}", 0, "no value is called var.x; did you mean vars.x?"),
        ("{{ incident.rule }}", 0, "no value is called incident.rule"),
        ("{{ labels.a.b }}", 0, "only a value and its filters"),
        ("{{ labels[0] }}", 0, "only a value and its filters"),
        ("{{ foo['a'] }}", 0, "only a value and its filters"),
        ("{{ labels['a':] }}", 0, "only a value and its filters"),
        ("{{ 'text' }}", 0, "only a value and its filters"),
        ("{{ 1 + 1 }}", 0, "only a value and its filters"),
        ("{{ labels.a ~ labels.b }}", 0, "only a value and its filters"),
        ("{{ labels.a() }}", 0, "only a value and its filters"),
        ("{{ labels.a if target }}", 0, "only a value and its filters"),
        ("{{ ''.__class__.__mro__ }}", 0, "only a value and its filters"),
        ("{{ target, target }}", 0, "only a value and its filters"),
        ("{{ target is defined }}", 0, "only a value and its filters"),
        ("{{ target | upper }}", 0, "unknown filter upper"),
        ("{{ target | default }}", 0, "default takes one text or number"),
        ("{{ target | default('a', true) }}", 0, "default takes one text or number"),
        ("{{ target | default('a', 'b') }}", 0, "default takes one text or number"),
        ("{{ target | default(vars.x) }}", 0, "default takes one text or number"),
        ("{{ target | default(value='a') }}", 0, "default takes one text or number"),
        ("{{ target | default(*a) }}", 0, "default takes one text or number"),
        ("{{ target | default(**a) }}", 0, "default takes one text or number"),
        ("{{ target | default(true) }}", 0, "default takes one text or number"),
        ("{{ target | lower('a') }}", 0, "lower takes no arguments"),
        ("{{ target | int(target) }}", 0, "int takes no arguments"),
        ("a\nb{% if target %}c{% endif %}", 2, "a statement is not allowed"),
        ("a\nb{% set x = 1 %}", 2, "a statement is not allowed"),
        ("a\n{{ target", 2, "not a template"),
        ("{{ }}", 0, "not a template"),
        ("{% raw %}abc", 0, "not a template"),
        ("{% nonsense %}", 0, "not a template"),
        ("{{ " + "(" * 5000 + "target" + ")" * 5000 + " }}", 0, "nested too deeply"),
        ("a {{ " + "9" * 5000 + " }}", 2, "a number too long"),
        ("x" * (LONGEST + 1), LONGEST, "longer than"),
        ("{% raw %}{{ x }}{% endraw %}{{ y }}", 28, "unknown name y"),
        ("a  {{- target -}}  {{ y }}", 19, "unknown name y"),
    ],
)
def test_any_other_node_is_refused_with_its_place_and_a_cure(source: str, offset: int, words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(source)
    assert words in str(caught.value)
    assert caught.value.offset == offset
    assert caught.value.cure


def test_what_is_missing_is_named() -> None:
    for source, name in (
        ("{{ labels.none }}", "labels.none"),
        ("{{ labels.empty }}", "labels.empty"),
        ("{{ annotations.none | lower | int }}", "annotations.none"),
        ("{{ vars.none }}", "vars.none"),
        ("{{ secrets.none }}", "secrets.none"),
    ):
        with pytest.raises(Unresolved, match="is not there") as caught:
            render(source)
        assert str(caught.value.reference) == name
    for source, name in (("{{ target }}", "target"), ("{{ incident.id }}", "incident.id")):
        with pytest.raises(Unresolved) as caught:
            render(source, Scope())
        assert str(caught.value.reference) == name


HOSTILE = [
    "; rm -rf /",
    "$(x)",
    "`x`",
    "--flag",
    "-x",
    "../../etc/passwd",
    "a/../b",
    "a/..",
    "a/./b",
    "a/.",
    "..",
    ".",
    "./b",
    "/etc/passwd",
    "a\0b",
    "x" * 254,
    "x" * 5000,
    "a\nb",
    "a\n",
    "{{ x }}",
    "a b",
    "é",
    "a%2fb",
    "a?b",
    "a=b",
    "a'b",
    'a"b',
    "a\\b",
    "\ud800",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "source",
    ["{{ labels.x }}", "{{ annotations.x }}", "{{ target }}", 'a{{ labels.x | default("b") | lower }}'],
)
def test_a_hostile_value_is_refused_and_not_repeated(source: str, value: str) -> None:
    with pytest.raises(UnsafeLabel) as caught:
        render(source, Scope(labels={"x": value}, annotations={"x": value}, target=value))
    assert caught.value.reference.kind in {RefKind.LABELS, RefKind.ANNOTATIONS, RefKind.TARGET}
    assert str(caught.value) == f"{caught.value.reference} is not a plain word of 1 to 253 characters"


@pytest.mark.parametrize(
    "value",
    ["a", "10.0.0.1:9100", "web@1.service", "a/b_c-d", "x" * 253, "a..b", "a/...", "_x", "https://x/y"],
)
def test_a_plain_word_is_put_in_as_it_is(value: str) -> None:
    assert render("{{ labels.x }}", Scope(labels={"x": value})) == value


def test_a_value_cannot_end_the_host_of_a_url() -> None:
    for value in ("evil.com/", "x@evil.com"):
        scope = Scope(labels={"x": value}, vars={"scheme": "http"})
        for source in ("https://{{ labels.x }}.internal/y", "{{ vars.scheme }}://a.{{ labels.x }}.internal"):
            with pytest.raises(UnsafeLabel, match="end the host"):
                render(source, scope)
        assert render("http://internal/{{ labels.x }}", scope) == f"http://internal/{value}"
        assert render("systemd://{{ labels.x }}", scope) == f"systemd://{value}"
    assert render("http://{{ labels.x }}/", Scope(labels={"x": "node:9100"})) == "http://node:9100/"


def test_a_label_that_is_no_number_is_unsafe_where_a_number_is_asked_for() -> None:
    with pytest.raises(UnsafeLabel, match="not a whole number"):
        render("{{ labels.job | int }}")
    with pytest.raises(Unresolved, match="not a whole number"):
        render("{{ vars.app | int }}")
    with pytest.raises(Unresolved, match="not a whole number") as caught:
        Template.parse("{{ secrets.key | int }}").render(SCOPE)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("value", HOSTILE)
def test_prose_takes_any_text_and_makes_it_legible(value: str) -> None:
    shown = render("<{{ labels.x }}>", Scope(labels={"x": value}), prose=True)
    assert shown.isprintable()
    assert len(shown) <= LONGEST_PROSE + 2


def test_legible_text_shows_control_characters_and_ends_in_time() -> None:
    assert legible("a\nb\tc\u2028d") == "a b c d"
    assert legible("a\0\x1b[31m\u202eb") == "a\\x00\\x1b[31m\\u202eb"
    assert legible("x" * LONGEST_PROSE) == "x" * LONGEST_PROSE
    assert legible("x" * 5000) == "x" * (LONGEST_PROSE - 1) + "…"
    assert len(legible("\0" * 1000)) == LONGEST_PROSE


def test_a_secret_that_takes_part_masks_the_whole_text() -> None:
    text = Template.parse("postgres://u:{{ secrets.key }}@{{ target }}").render(SCOPE)
    assert isinstance(text, SecretStr)
    assert reveal(text) == "postgres://u:s3cret@api-1"
    assert "s3cret" not in repr(text) + str(text)


def test_a_template_knows_its_references_and_whether_it_is_constant() -> None:
    template = Template.parse('{{ labels.a }}{{ vars["b c"] | default("x") }}{{ target }}{{ incident.id }}')
    assert {str(reference) for reference in template.references} == {
        "labels.a",
        "vars.b c",
        "target",
        "incident.id",
    }
    assert Reference(RefKind.TARGET) in template.references
    assert not template.constant
    assert Template.parse("{% raw %}{{ x }}{% endraw %}").constant
    assert str(template) == template.source
    assert (
        Template.parse("{{target}}")
        == Template.parse("{{  target  }}")
        != Template.parse("{{ labels.target }}")
    )


def test_binding_the_vars_leaves_text_an_int_or_a_smaller_template() -> None:
    values = {"app": "x y", "n": "3"}
    assert Template.parse("a {{ vars.app }} b").bind_vars(values) == "a x y b"
    assert Template.parse("{{ vars.n | int }}").bind_vars(values) == 3
    assert Template.parse("{{ vars.n | int }}m").bind_vars(values) == "3m"
    assert Template.parse("").bind_vars(values) == ""
    bound = Template.parse("a {{ vars.app }} {{ vars.n }}{{ target }}.{{ vars.n }}").bind_vars(values)
    assert isinstance(bound, Template)
    assert bound.parts[0] == "a x y 3"
    assert {str(reference) for reference in bound.references} == {"target"}
    assert bound.render(SCOPE) == "a x y 3api-1.3"
    assert Template.parse("{{ target }}").bind_vars({}) == Template.parse("{{ target }}")
    with pytest.raises(Unresolved, match=r"vars\.none"):
        Template.parse("{{ vars.none }}").bind_vars(values)
    assert Template.parse('{{ vars.none | default("d") }}').bind_vars(values) == "d"


def test_a_bound_var_still_guards_the_host_of_its_url() -> None:
    bound = Template.parse("{{ vars.url }}{{ labels.x }}.internal").bind_vars({"url": "http://"})
    assert isinstance(bound, Template)
    with pytest.raises(UnsafeLabel):
        bound.render(Scope(labels={"x": "evil.com/"}))


def compiled(tree: Any) -> Any:
    found, wrong = compile_tree(tree)
    assert not wrong
    return found


def test_a_tree_is_compiled_bound_and_rendered() -> None:
    tree = compiled(
        {
            "at": "{{ vars.app }}",
            "n": "{{ vars.n | int }}",
            "to": ["{{ target }}", 1, None, "x"],
            "port": "{{ labels.port | int }}",
        }
    )
    assert isinstance(tree["at"], Template)
    assert tree["to"][1:] == [1, None, "x"]
    bound = bind_tree(tree, {"app": "fly://x", "n": "3"})
    assert (bound["at"], bound["n"]) == ("fly://x", 3)
    assert render_tree(bound, SCOPE) == {"at": "fly://x", "n": 3, "to": ["api-1", 1, None, "x"], "port": 80}
    assert render_tree(tree, SCOPE) == render_tree(bound, SCOPE)
    assert render_tree(compiled("{{ target }}"), SCOPE) == "api-1"
    assert render_tree(compiled(("{{ target }}",)), SCOPE) == ["api-1"]


def test_only_the_prose_keys_at_the_top_take_any_text() -> None:
    scope = Scope(labels={"x": "a b"})
    tree = compiled({"body": ["{{ labels.x }}"]})
    assert render_tree(tree, scope, frozenset({"body"})) == {"body": ["a b"]}
    with pytest.raises(UnsafeLabel):
        render_tree(tree, scope)
    with pytest.raises(UnsafeLabel):
        render_tree(compiled({"env": {"body": "{{ labels.x }}"}}), scope, frozenset({"body"}))


def test_a_secret_number_stays_a_secret_in_a_tree() -> None:
    scope = Scope(secrets={"port": SecretStr("5432")})
    assert render_tree(compiled("{{ secrets.port | int }}"), scope) == SecretStr("5432")


def test_all_that_is_wrong_in_a_tree_is_told_with_its_path() -> None:
    tree = {
        "do": [{"argv": ["ok", "{{ x }}"]}, {"set": {"{{ vars.k }}": "v"}}],
        "b": "{% if %}",
        "c": "{# open",
        "d": "{{ target }}",
    }
    found, wrong = compile_tree(tree, ("ladder", 0))
    assert [error.path for error in wrong] == [
        ("ladder", 0, "do", 0, "argv", 1),
        ("ladder", 0, "do", 1, "set", "{{ vars.k }}"),
        ("ladder", 0, "b"),
        ("ladder", 0, "c"),
    ]
    assert "a key cannot be a template" in str(wrong[1])
    assert found["b"] == "{% if %}"
    assert isinstance(found["d"], Template)
