from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from common.data.readers.stream import first_of, lines, objects, table
from common.errors import DataError


@pytest.mark.parametrize("packed", [True, False])
def test_lines_plain_and_gzip_whatever_the_name(tmp_path: Path, packed: bool) -> None:
    body = "\ufeffone\r\n\nCafé\n".encode()
    (tmp_path / "a.txt").write_bytes(gzip.compress(body) if packed else body)
    assert list(lines(tmp_path / "a.txt")) == [(1, "one"), (3, "Café")]


@pytest.mark.parametrize(
    ("first", "remedy"),
    [
        ("{'asin': 'B1', 'title': 'Widget'}", "Python literals.*ast.literal_eval"),
        ("[", "one list.*jq"),
        ('[{"asin": 1}, {"asin": 2}]', "one list"),
        ("asin,title", "an object of JSON a line"),
        ("[" * 100_000, "one list"),
    ],
)
def test_a_file_in_another_form_than_json_lines_is_refused(tmp_path: Path, first: str, remedy: str) -> None:
    (tmp_path / "meta.json").write_text(f'{first}\n{{"asin": 1}}\n')
    with pytest.raises(DataError, match=rf"'meta.json': line 1 is not JSON, it reads .*{remedy}") as raised:
        list(objects(tmp_path / "meta.json"))
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("asked", ["utf-8-sig", "latin-1"])
def test_a_byte_order_mark_goes_before_what_was_asked_for(tmp_path: Path, encoding: str, asked: str) -> None:
    (tmp_path / "a.txt").write_bytes("1::Café\n".encode(encoding))
    assert list(lines(tmp_path / "a.txt", asked)) == [(1, "1::Café")]


def test_a_quote_that_ends_early_harms_its_own_line_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('a,"Foo" bar,x\nb,B,y\n')
    assert list(table(tmp_path / "a")) == [(1, ["a", "Foo bar", "x"]), (2, ["b", "B", "y"])]


def test_lines_that_hold_no_object(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"a": 1}\nnot\n[1]\n')
    assert list(objects(tmp_path / "a")) == [(1, {"a": 1}), (2, None), (3, None)]


def test_a_field_may_hold_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('a,b\r\n"x\r\ny",2\r\n\r\nz,3\r\n', newline="")
    assert list(table(tmp_path / "a")) == [(1, ["a", "b"]), (3, ["x\r\ny", "2"]), (5, ["z", "3"])]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*gone.*No such file"):
        list(lines(tmp_path / "gone"))
    (tmp_path / "a").write_bytes(b"ok\n\xff\n")
    with pytest.raises(DataError, match=r"'a' is not utf-8-sig text"):
        list(lines(tmp_path / "a"))
    (tmp_path / "a").write_bytes(gzip.compress(b"many words" * 100)[:-9])
    with pytest.raises(DataError, match=r"'a' is not a whole gzip file"):
        list(lines(tmp_path / "a"))


def test_the_first_of_several_files_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "books.CSV.gz").touch()
    (tmp_path / "Books.jsonl").touch()
    assert first_of(tmp_path, ["Books.csv", "Books.jsonl"], "books", "").name == "books.CSV.gz"
    with pytest.raises(DataError, match=r"none of x \(or with .gz\), as 'books' needs \(look there\)"):
        first_of(tmp_path, ["x"], "books", "look there")
