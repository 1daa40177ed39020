"""fellrec/report/markup.py: text stays text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fellrec.report.markup import Markup, join, tag, text


class Read(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.said = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attributes))

    def handle_data(self, data: str) -> None:
        self.said += data


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Cf"])))
def test_text_is_read_back_as_it_was_in_content_and_in_attributes(content: str) -> None:
    read = Read(tag("b", content, title=content))
    assert read.found == [("b", [("title", content)])]
    assert read.said == content


@given(st.text())
def test_any_string_gives_one_element_that_can_be_encoded(content: str) -> None:
    made = tag("b", content, title=content)
    made.encode()
    assert [name for name, _ in Read(made).found] == ["b"]


@pytest.mark.parametrize("unseen", ["\x00", "\x1b", "\u202e", "\u2067", "\ud800", "\x85"])
def test_characters_that_hide_or_turn_text_are_shown_as_unknown(unseen: str) -> None:
    assert text(f"a{unseen}b") == "a\ufffdb"


def test_markup_is_kept_and_what_is_made_of_it_as_a_string_is_text_again() -> None:
    inner = tag("i", "x")
    assert tag("p", inner, [inner, None], "<") == "<p><i>x</i><i>x</i>&lt;</p>"
    assert tag("p", f"{inner}") == "<p>&lt;i&gt;x&lt;/i&gt;</p>"
    assert isinstance(join("a"), Markup)


def test_attributes_that_are_nothing_are_left_out() -> None:
    made = tag("p", class_="a", stroke_width=1.5, hidden=True, title=None, open=False)
    assert made == '<p class="a" stroke-width="1.5" hidden></p>'
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
