"""Wording: what may stand in a message, what is said of the rest, and that no value breaks a line."""

import pytest

from stopgap.template import TemplateError
from stopgap.wording import FIELDS, LONGEST, Phrase, Slot, one_line


def filled(source, **values):
    return Phrase.parse(source).filled(lambda slot: values.get(slot.key or slot.name, ""))


def test_a_text_is_read_line_by_line():
    assert Phrase.parse("a {{ rule }} b\n\n{{labels.x}}{{ target }}\n") == Phrase(
        (("a ", Slot("rule"), " b"), (), (Slot("labels", "x"), Slot("target")))
    )


@pytest.mark.parametrize(
    ("source", "slot"),
    [
        ("{{ labels.instance }}", Slot("labels", "instance")),
        ('{{ labels["a.b-c"] }}', Slot("labels", "a.b-c")),
        ("{{ annotations['a b'] }}", Slot("annotations", "a b")),
        ("{{ vars.x }}", Slot("vars", "x")),
        ("{{ incident.id }}", Slot("incident.id")),
        ('{{ labels.x | default("none") }}', Slot("labels", "x", "none")),
        ("{{ target|default('no target') }}", Slot("target", "", "no target")),
    ],
)
def test_a_field_may_be_written_so(source, slot):
    assert Phrase.parse(source).slots == (slot,)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_the_list_is_one(field):
    assert Phrase.parse(f"{{{{ {field} }}}}").slots == (Slot(field),)


@pytest.mark.parametrize(
    ("source", "text", "cure", "offset"),
    [
        ("x\n  {{ severty }}", "no field is called `severty`", "did you mean `severity`?", 4),
        ("{{ zebra }}", "no field is called `zebra`", "the fields are incident.id,", 0),
        ("a {{ labels }}", "labels alone is not a value", "name one: labels.x", 2),
        ("a {{ rule.name.x }}", "no field is called `rule.name.x`", "the fields are", 2),
        ("{{ 1 + 1 }}", "`{{ 1 + 1 }}` is no field", "the fields are", 0),
        ("{{ rule | upper }}", "`{{ rule | upper }}` is no field", "the fields are", 0),
        ("{{ }}", "`{{  }}` is no field", "the fields are", 0),
        ("{{ rule\n}}", "`{{` is not closed in its line", "write }}", 0),
        ("a {% for x in y %}", "a statement or a comment is not allowed", "the fields are", 2),
        ("{# no #}", "a statement or a comment is not allowed", "the fields are", 0),
        ("x" * (LONGEST + 1), f"longer than {LONGEST} characters", "shorten it", LONGEST),
    ],
)
def test_what_is_no_field_is_said_with_place_and_cure(source, text, cure, offset):
    with pytest.raises(TemplateError) as wrong:
        Phrase.parse(source)
    assert (wrong.value.text, wrong.value.offset) == (text, offset)
    assert wrong.value.cure.startswith(cure)


def test_a_line_whose_fields_are_all_empty_is_left_out_and_no_other():
    source = (
        "hello\n\nrunbook: {{ runbook_url }}\n{{ rule }} on {{ target }}\n{{ x | default('-') }}".replace(
            "x ", "phase "
        )
    )
    assert filled(source, rule="p/r") == "hello\n\np/r on \n-"
    assert filled("{{ rule }}") == ""


def test_vars_are_put_in_once_and_a_missing_one_is_named():
    phrase = Phrase.parse("{{ vars.a }} {{ rule }}").bound({"a": "{{ rule }}"})
    assert phrase.filled(lambda slot: "x") == "{{ rule }} x"
    with pytest.raises(KeyError, match="a"):
        Phrase.parse("{{ vars.a }}").bound({})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\r\nBcc: b\x00", "a Bcc: b\\x00"),
        ("x" * 600, "x" * 499 + "…"),
        ("  many\t\tblanks ", "many blanks"),
        ("\u202eevil", "\\u202eevil"),
        ("", ""),
    ],
)
def test_a_value_is_one_printable_line_of_bounded_length(value, shown):
    assert one_line(value) == shown
