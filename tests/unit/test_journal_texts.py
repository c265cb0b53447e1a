"""What no Journal keeps is refused before it is sent to one."""

import pytest

from stopgap.journal import check_texts


@pytest.mark.parametrize("text", ["half a character \ud83d", "a NUL \0 in the middle"])
def test_what_no_text_column_can_hold_is_refused(text):
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        check_texts("hotel", text)


def test_all_other_characters_are_kept():
    check_texts("hotel", "", "Zürich \U0001f600 \x7f \u2028")
