"""common/printable.py: text from outside is shown without effect."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.printable import printable, printable_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title of the window\x07x", "x"),
        ("\x1b]8;;http://elsewhere\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("a\x1bcb", "a\ufffdcb"),
        ("over\rwritten", "over\ufffdwritten"),
        ("\u202eevil", "\ufffdevil"),
        ("half \ud83d", "half \ufffd"),
        ("👩\u200d🔬 ﷺ café", "👩\u200d🔬 ﷺ café"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_steers_is_left_and_the_rest_is(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any(ord(char) < 32 and char not in "\t\n" or 127 <= ord(char) < 160 for char in shown)
    assert printable(shown) == shown
    assert text.isprintable() <= (shown == text)


@given(st.dictionaries(st.text(), st.text()))
def test_json_keeps_its_content_and_is_harmless(value: dict[str, str]) -> None:
    written = printable_json(value)
    assert json.loads(written) == value and printable(written) == written
