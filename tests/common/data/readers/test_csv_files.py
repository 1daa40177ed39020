from __future__ import annotations

from pathlib import Path

import pytest

from common.data.dataset import Dataset
from common.data.readers.csv_files import read, seconds
from common.data.readers.report import ReadReport
from common.errors import DataError

ITEMS = "item_id,title,brand\na,Alpha &amp; Co,Acme\nb,Beta,\n"
ROWS = "user_id,item_id,timestamp\nx,b,200\nx,a,100\ny,a,300\n"


def _read(
    folder: Path, items: str | bytes = ITEMS, rows: str | bytes = ROWS, **more: float
) -> tuple[Dataset, ReadReport]:
    for name, text in (("items.csv", items), ("rows.csv", rows)):
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(folder / "items.csv", folder / "rows.csv", "shop", **more)


def test_two_tables(tmp_path: Path) -> None:
    dataset, report = _read(tmp_path)
    assert dataset.catalogue.items == ({"title": "Alpha & Co", "brand": "Acme"}, {"title": "Beta"})
    assert dataset.interactions.items.tolist() == [0, 1, 0] and dataset.interactions.times.tolist() == [100, 200, 300]
    assert (dataset.name, dataset.licence, dataset.source) == ("shop", "not stated", "items.csv and rows.csv")
    assert (report.rows, report.bad, report.notes) == (5, {}, [])


def test_the_same_in_other_clothes(tmp_path: Path) -> None:
    plain, _ = _read(tmp_path)
    items = '\ufeffItemId;Title;brand\r\na;"Alpha & Co";Acme\r\n\r\nb;Beta;\r\n'
    rows = "USER\tasin\trating\tDate\nx\tb\t5\t1970-01-01T00:03:20Z\nx\ta\t1\t100000\ny\ta\t1\t1970-01-01 00:05:00\n"
    dressed, report = _read(tmp_path, items, rows.replace("100000", "100"))
    assert dressed.digest == plain.digest and report.bad == {}


def test_no_time_column_means_order_alone(tmp_path: Path) -> None:
    dataset, _ = _read(tmp_path, rows="user,item\nx,b\nx,a\n")
    assert dataset.interactions.times is None and dataset.interactions.items.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1700000000", 1_700_000_000),
        ("1700000000.9", 1_700_000_000),
        ("1700000000123", 1_700_000_000),
        ("1685336204570.0", 1_685_336_204),
        ("2023-11-14T22:13:20", 1_700_000_000),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000),
        (" 1970-01-02 ", 86_400),
    ],
)
def test_times_in_the_usual_forms(text: str, moment: int) -> None:
    assert seconds(text) == moment


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "1e300", "14.11.2023"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        seconds(text)


def test_latin_1_is_read_and_said(tmp_path: Path) -> None:
    dataset, report = _read(tmp_path, items="id,name\na,Café\n".encode("latin-1"), rows="user,item\nx,a\n")
    assert dataset.catalogue.titles == ("Café",)
    assert report.notes == ["items.csv is not UTF-8, and was read as Latin-1"]


@pytest.mark.parametrize(
    ("items", "rows", "said"),
    [
        (
            "key,title\na,A\n",
            ROWS,
            r"'items\.csv' has no column for the item id; its columns are \['key', 'title'\].*'item_id'",
        ),
        ("id,text\na,A\n", ROWS, r"'items\.csv' has no column for the title.*'title' \(also taken: name"),
        (ITEMS, "item,when\na,1\n", r"'rows\.csv' has no column for the user;"),
        (ITEMS, "user,thing\nx,a\n", r"'rows\.csv' has no column for the item;"),
        (ITEMS, "", r"'rows\.csv' has no column for the user; its columns are \[\]"),
        (ITEMS, "user,item\n", r"'rows\.csv' holds no rows"),
    ],
)
def test_missing_columns_and_empty_files_are_named(tmp_path: Path, items: str, rows: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        _read(tmp_path, items, rows)


def test_malformed_rows(tmp_path: Path) -> None:
    items = ITEMS + ",Nameless,\nc, &nbsp; ,\nd,Too,many,fields\na,Second,\n"
    rows = ROWS + "x,zzz,1\n,a,1\nx,a,soon\nx,a\n"
    dataset, report = _read(tmp_path, items, rows, limit=0.6)
    assert {reason: bad.rows for reason, bad in report.bad.items()} == {
        "items.csv: empty item id": [4],
        "items.csv: empty title": [5],
        "items.csv: 4 fields for 3": [6],
        "rows.csv: unknown item": [5],
        "rows.csv: empty user id": [6],
        "rows.csv: unreadable time": [7],
        "rows.csv: 2 fields for 3": [8],
    }
    assert report.duplicate_ids == 1 and dataset.catalogue.titles == ("Alpha & Co", "Beta")
    with pytest.raises(DataError, match=r"3 of 6 rows are bad, the limit is 1.0%"):
        _read(tmp_path, items, rows)


def test_a_quotation_mark_that_never_closes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="never closed"):
        _read(tmp_path, items=ITEMS + 'c,"Open,x\n' + "d,D,x\n" * 40_000)
