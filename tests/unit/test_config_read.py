import pytest

from stopgap.config.findings import Findings
from stopgap.config.node import Node
from stopgap.config.read import read


def read_all(source: str) -> tuple[Node | None, list[str]]:
    findings = Findings()
    node = read(source, "x.yaml", findings)
    return node, [str(problem) for problem in findings.errors]


def value(scalar: str) -> object:
    node, problems = read_all(f"a: {scalar}\n")
    assert not problems
    return node.plain()["a"]


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "off",
        "yes",
        "No",
        "True",
        "NULL",
        "2024-01-01",
        "1_000",
        "010",
        "0x1f",
        "1e3",
        ".5",
        "+1",
        "0120",
        "12:30:00",
        "1.",
    ],
)
def test_whatever_is_not_null_true_false_or_a_decimal_number_is_text(text):
    assert value(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-12", -12),
        ("0.5", 0.5),
        ("-1.25", -1.25),
    ],
)
def test_null_booleans_and_decimal_numbers_are_read_as_such(text, wanted):
    assert value(text) == wanted
    assert type(value(text)) is type(wanted)


@pytest.mark.parametrize("text", ["'true'", '"12"', "'null'", "''"])
def test_what_is_quoted_is_text(text):
    assert value(text) == text[1:-1]


def test_a_number_too_long_to_be_meant_as_one_is_text():
    assert value("1" * 19) == "1" * 19


def test_exact_keeps_the_characters_of_every_scalar():
    node, _ = read_all("set: {A: 0.50, B: [true, ~], C: null}\n")
    assert node.exact().plain() == {"set": {"A": "0.50", "B": ["true", "~"], "C": "null"}}


def test_every_node_knows_its_line_its_column_and_its_key_path():
    node, _ = read_all("rules:\n  - name: x\n    do: [{wait: 1s}]\n")
    mark = node.find(("rules", 0, "do", 0, "wait"))
    assert (mark.line, mark.column, mark.key) == (3, 17, "rules[0].do[0].wait")
    assert node.find(("rules", 0, "do", 0, "wait"), at_key=True).column == 11


def test_a_path_that_is_not_there_is_placed_at_its_longest_beginning():
    node, _ = read_all("rules:\n  - name: x\n")
    assert node.find(("rules", 0, "ladder", 3)).line == 2
    assert node.find(("rules", 7)).line == 2


def test_a_byte_of_a_text_is_found_behind_its_quote_only_where_it_stands_as_it_reads():
    node, _ = read_all("a: 'x y'\nb: 'it''s'\nc: z\nd: |\n  z\n")
    offsets = {key: inner.offset for key, inner in node.value.items()}
    assert offsets == {"a": 1, "b": None, "c": 0, "d": None}


DEEPER = "x.yaml:3:6: `b` stands further right than the keys above it, align it with them, or with what it belongs to"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("a: 1\na: 2\n", "x.yaml:2:1: a: `a` is there already, in line 1, keep one of the two"),
        ("a:\n\t- b\n", "x.yaml:2:1: a tab stands where spaces must, indent with spaces"),
        ("a: b: c\n", "x.yaml:1:5: a second `: ` in one line, put quotes around the value that holds it"),
        ("r:\n  - a: x\n   b: y\n", "x.yaml:3:4: the indentation fits no line above, align it with its neighbours"),
        ("a: [1,\n", "x.yaml:1:7: the file ends too early, close the bracket"),
        ("a: {b: 1\nc: 2\n", "x.yaml:2:2: a comma or a closing bracket is missing, add it, or quote a value that holds , [ ] { }"),
        ("a: 'x\n", "x.yaml:1:4: the quote is not closed, close it"),
        ("a: @x\n", "x.yaml:1:4: a value cannot begin with this character, put quotes around it"),
        ("a: b\x01\n", "x.yaml:1:5: a control character, remove it"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: a second document, put it into a file of its own"),
        ("a: !!str 1\n", "x.yaml:1:4: a: a tag (tag:yaml.org,2002:str), remove it"),
        ("a: !run [x]\n", "x.yaml:1:4: a: a tag (!run), remove it"),
        ("a: *b\n", "x.yaml:1:4: a: an alias of nothing above: *b, write the value, or its &anchor before it"),
        ("a: &b {c: 1}\nd: {<<: *b}\n", "x.yaml:2:5: d.<<: merge keys are not supported, write the keys out"),
        ("a: {{ vars.x }}\n", 'x.yaml:1:4: a: a template must be in quotes, put quotes around it: "{{ … }}"'),
        ("a: {[b]: c}\n", "x.yaml:1:5: a: a table or a list as a key, write a name"),
        ("r:\n  - a: x\n     b: y\n", DEEPER),
        ("a: [b\n  c: d\n", "x.yaml:2:4: a comma or a closing bracket is missing, add it, or quote a value that holds , [ ] { }"),
    ],
)  # fmt: skip
def test_what_is_no_plain_yaml_is_said_with_its_place_and_cure(source, problem):
    assert read_all(source)[1] == [problem]


def test_an_alias_is_the_value_of_its_anchor():
    node, problems = read_all("a: &x [1, 2]\nb: *x\n")
    assert (node.plain(), problems) == ({"a": [1, 2], "b": [1, 2]}, [])


def test_an_alias_of_itself_is_refused():
    assert read_all("a: &x [*x]\n")[0] is None


def test_aliases_that_multiply_are_stopped_before_they_fill_the_memory():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    node, problems = read_all("\n".join(lines))
    assert node is None
    assert "more than 250000 values" in problems[0]


def test_nesting_without_end_is_stopped():
    node, problems = read_all("[" * 100_000)
    assert node is None
    assert "nested deeper than 40 levels" in problems[0]


@pytest.mark.parametrize("source", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_no_mistake_of_yaml(source):
    assert read_all(source)[1] == []


def test_a_character_that_is_escaped_in_two_halves_is_one():
    assert value(r'"\ud83d\ude80 caf\u00e9"') == "🚀 café"
    node, problems = read_all(r'"\ud83d\ude80": 1')
    assert not problems
    assert list(node.plain()) == ["🚀"]


@pytest.mark.parametrize("source", [r'a: "\ud83d"', r'"\ude80": 1'])
def test_half_a_character_is_refused_where_it_stands(source):
    node, problems = read_all(source)
    assert node is None
    assert "half a character" in problems[0]
