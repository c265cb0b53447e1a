"""Whatever loads, no editor underlines: one value of the full files is replaced by another, and both are asked."""

from hypothesis import HealthCheck, given, settings, strategies as st
from tests.full_rules import TREES, at, complaints, places, replaced, underlined

TEMPLATES = ["{{ vars.x }}", "{{ vars.time }}", "{{ vars.mode }}", "{{ vars.yes }}", "{{ labels.x }}"]
ODD = [
    None, 0, 1, 5, 0.5, "", "x", "5", "yes", "0", "5m", "3/1h", "P1", "== 1", "GET", "auto", "revert",
    *TEMPLATES, [], ["x"], ["5m"], {}, {"x": "y"},
]  # fmt: skip
# A flag where a number belongs loads (pydantic counts it), and an editor may well say so: none of these.


PLACES = [(name, place) for name, tree in TREES.items() for place in places(tree)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(PLACES), value=st.sampled_from(ODD))
def test_what_loads_is_not_underlined(tmp_path, where, value):
    name, place = where
    whole = isinstance(at(TREES[name], place), dict | list)
    if whole and value in TEMPLATES:
        return  # never a table once it is rendered: said when it is, and underlined at once
    tree = replaced(TREES[name], place, value)
    if found := underlined(tree):
        assert complaints(tmp_path, name, tree), (place, value, found)


def test_the_files_as_they_are_load_and_are_not_underlined(tmp_path):
    for name, tree in TREES.items():
        assert complaints(tmp_path, name, tree) == []
        assert underlined(tree) == []
