from __future__ import annotations

from pathlib import Path

import pytest

from common.data.readers.headed import Headed
from common.errors import DataError

TEXT = "item_id,title\na,Café Müller\nb,Łódź €\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_tell_themselves(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT.encode(encoding))
    found = Headed.open(tmp_path / "a.csv")
    assert found.header == ("item_id", "title")
    assert list(found.rows()) == [(2, ["a", "Café Müller"]), (3, ["b", "Łódź €"])]


@pytest.mark.parametrize(("body", "encoding"), [(b"caf\xe9 \x80", "cp1252"), (b"caf\xe9 \x81", "latin-1")])
def test_what_is_not_unicode_is_windows_or_latin_1(tmp_path: Path, body: bytes, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,title\n1," + body + b"\n")
    found = Headed.open(tmp_path / "a.csv")
    assert found.encoding == encoding and next(found.rows())[1][1] == body.decode(encoding)


def test_a_character_across_blocks_is_one(tmp_path: Path) -> None:
    for shift in range(3):
        (tmp_path / "a.csv").write_text(
            "id,title\n" + "1,abcdefg\n" * (2**20 // 10 - 1) + "1," + "x" * (2 + shift) + "€€€€\n", encoding="utf-8"
        )
        assert Headed.open(tmp_path / "a.csv").encoding == "utf-8-sig"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_quotes_and_line_ends(tmp_path: Path, delimiter: str) -> None:
    rows = [["id", "title"], ["1", '"Two\r\nlines"'], ["2", f'"with {delimiter} in it"']]
    (tmp_path / "a.csv").write_bytes("\r\n".join(delimiter.join(row) for row in rows).encode())
    assert list(Headed.open(tmp_path / "a.csv").rows()) == [
        (3, ["1", "Two\r\nlines"]),
        (4, ["2", f"with {delimiter} in it"]),
    ]


def test_columns_by_their_usual_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\nItemId:token;Product Title\n1;x\n")
    found = Headed.open(tmp_path / "a.csv")
    assert found.column("item id", ("key", "item_id")) == 0 and found.find(("title", "product_title")) == 1
    assert found.find(("user",)) is None
    with pytest.raises(
        DataError, match=r"no column for the user; its columns are \['ItemId', 'Product Title'\].*call it 'user'"
    ):
        found.column("user", ("user", "customer"))
