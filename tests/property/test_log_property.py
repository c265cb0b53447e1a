"""What is written straight is what would have been written after all that makes values harmless."""

import orjson
from hypothesis import example, given, strategies as st

from stopgap import log

TEXT = st.text(max_size=40) | st.text('abc\\"\n\x1b\x7f\u202e\xa0é→', max_size=20)
LEAF = st.none() | st.booleans() | st.floats() | st.integers(-(2**66), 2**66) | TEXT
VALUE = st.recursive(LEAF, lambda of: st.lists(of, max_size=4) | st.dictionaries(TEXT, of, max_size=4))


@given(st.dictionaries(TEXT, VALUE, max_size=6))
@example({"many": [1] * log.MOST_ITEMS})
@example({"many": [1] * (log.MOST_ITEMS + 1)})
@example({str(n): n for n in range(log.MOST_ITEMS + 1)})
@example({"deep": [[[[[1]]]]]})
@example({"deep": [[[[[[1]]]]]]})
@example({"long": "x" * log.LONGEST_VALUE})
@example({"long": "x" * (log.LONGEST_VALUE + 1)})
@example({"large": 2**53})
@example({"large": 1 - 2**53})
@example({"half": "\ud800"})
def test_what_is_written_straight_would_not_have_been_changed(entry):
    text = log.straight(entry)
    assert text is None or text == orjson.dumps(log.harmless(entry)).decode()


@given(
    st.dictionaries(st.text("abc", max_size=5), st.integers(0, 9) | st.text("abc é→", max_size=9), max_size=9)
)
def test_most_of_a_timeline_is_written_straight(entry):
    assert log.straight(entry) is not None
