from __future__ import annotations

import pytest

from common.data.readers.text import clean


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Game &amp; Watch", "Game & Watch"),
        ("Game &amp;amp; Watch", "Game & Watch"),
        ("It&#39;s &quot;new&quot;", 'It\'s "new"'),
        ("a&nbsp;b\t c\n", "a b c"),
        ("R&D & 5 < 6", "R&D & 5 < 6"),
        (" &nbsp; ", ""),
    ],
)
def test_clean(raw: str, text: str) -> None:
    assert clean(raw) == text
