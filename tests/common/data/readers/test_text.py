from __future__ import annotations

from pathlib import Path

import pytest

from common.data.readers.text import clean, decoded
from common.errors import DataError


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


def test_decoded_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nothing\.csv"):
        decoded(tmp_path / "nothing.csv")
    (tmp_path / "odd.csv").write_bytes("é".encode("latin-1"))
    with pytest.raises(DataError, match=r"'odd\.csv' is not utf-8-sig text"):
        decoded(tmp_path / "odd.csv")
