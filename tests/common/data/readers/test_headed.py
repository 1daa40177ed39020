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


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_delimiters_quotes_and_line_ends(tmp_path: Path, delimiter: str) -> None:
    rows = [["id", "title"], ["1", '"Two\r\nlines"'], ["2", f'"with {delimiter} in it"']]
    (tmp_path / "a.csv").write_bytes("\r\n".join(delimiter.join(row) for row in rows).encode())
    assert list(Headed.open(tmp_path / "a.csv").rows()) == [
        (3, ["1", "Two\r\nlines"]),
        (4, ["2", f"with {delimiter} in it"]),
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('id\ttitle\n1\t"Open\n2\tB "x"\n3\tClosed"\n', [["1", '"Open'], ["2", 'B "x"'], ["3", 'Closed"']]),
        ('"id"\t"title"\n"1"\t"with \t in it"\n', [["1", "with \t in it"]]),
    ],
)
def test_tabs_are_read_literally_unless_the_header_is_quoted(tmp_path: Path, text: str, rows: list) -> None:
    (tmp_path / "a.tsv").write_text(text)
    assert [fields for _, fields in Headed.open(tmp_path / "a.tsv").rows()] == rows


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('1,"He said \\"hi\\", twice",x\n', 'He said "hi", twice'),
        ('1,"He said ""hi"", twice",x\n', 'He said "hi", twice'),
        ('1,"C:\\games\\",x\n', "C:\\games\\"),
        ("1,5\\ inch,x\n", "5\\ inch"),
    ],
)
def test_a_quote_is_doubled_or_has_a_backslash_before_it(tmp_path: Path, text: str, title: str) -> None:
    (tmp_path / "a.csv").write_text("id,title,kind\n" + text)
    assert [fields for _, fields in Headed.open(tmp_path / "a.csv").rows()] == [["1", title, "x"]]


@pytest.mark.parametrize("header", ["id,title,title", "id,Title,title", "id,title:token,title", "id,标题,标题"])
def test_a_column_twice_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n1,x,y\n")
    with pytest.raises(DataError, match=r"'a\.csv' has a column twice: \['.*', '.*'\] \(leave one"):
        Headed.open(tmp_path / "a.csv")


def test_columns_without_a_name_may_be_many(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",id,,标题,年\n0,1,,x,2001\n")
    assert Headed.open(tmp_path / "a.csv").header == ("", "id", "", "标题", "年")


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match=r"'a\.csv' is not text: it begins with b'\\x00"):
        Headed.open(tmp_path / "a.csv")


def test_columns_by_their_usual_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\nItemId:token;Product Title\n1;x\n")
    found = Headed.open(tmp_path / "a.csv")
    assert found.column("item id", ("key", "item_id")) == 0 and found.find(("title", "product_title")) == 1
    assert found.find(("user",)) is None
    with pytest.raises(
        DataError, match=r"no column for the user; its columns are \['ItemId', 'Product Title'\].*call it 'user'"
    ):
        found.column("user", ("user", "customer"))
