from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.data.dataset import Dataset
from common.data.readers.csv_files import read
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


def test_another_encoding_is_read_and_said(tmp_path: Path) -> None:
    dataset, report = _read(tmp_path, items="id,name\na,Café €\nb,B\n".encode("cp1252"), rows="user,item\nx,a\ny,b\n")
    assert dataset.catalogue.titles == ("Café €", "B")
    assert report.notes == ["items.csv is not UTF-8, and was read as cp1252"]


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
        "rows.csv: unreadable time (write seconds since 1970, or YYYY-MM-DD HH:MM:SS)": [7],
        "rows.csv: 2 fields for 3": [8],
    }
    assert report.duplicate_ids == 1 and dataset.catalogue.titles == ("Alpha & Co", "Beta")
    with pytest.raises(DataError, match=r"3 of 6 rows are bad, the limit is 1.0%"):
        _read(tmp_path, items, rows)


def test_a_quotation_mark_that_never_closes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="never closed"):
        _read(tmp_path, items=ITEMS + 'c,"Open,x\n' + "d,D,x\n" * 40_000)


def test_an_open_quotation_mark_is_named_by_its_row(tmp_path: Path) -> None:
    lines = ["c,Fine,x", 'd,"Open,x', "e,E,x", 'f,"Next one",x']
    with pytest.raises(DataError, match=r"'items.csv': the quotation mark in row 5 is never closed"):
        _read(tmp_path, items=ITEMS + "\n".join(lines))
    with pytest.raises(DataError, match=r"row 5 is never closed"):
        _read(tmp_path, items=ITEMS + "\n".join(lines[:2]))


def test_no_row_of_a_table_of_tabs_is_swallowed_by_a_quotation_mark(tmp_path: Path) -> None:
    mark = '"'
    items = "item_id:token\tmovie_title:token_seq\tgenres:token_seq\n" + "".join(
        f"i{n}\t{mark if n in (7, 12) else ''}Thing {n}\tcat\n" for n in range(30)
    )
    rows = "user_id:token\titem_id:token\ttimestamp:float\n" + "".join(f"u{n % 5}\ti{n}\t{n}\n" for n in range(30))
    dataset, report = _read(tmp_path, items, rows)
    assert len(dataset.catalogue) == 30 and report.bad == {}
    assert dataset.catalogue.titles[7] == '"Thing 7' and dataset.catalogue.items[0]["genres"] == "cat"


@pytest.mark.parametrize(
    ("form", "days"),
    [
        ("{:%Y%m%d}", "dates"),
        ("{:%Y%m%d%H%M%S}", "dates"),
        ("{:%Y%m%d}.0", "dates"),
        ("{:%Y/%m/%d}", "dates"),
        ("{:%Y-%m-%d %H:%M:%S} UTC", "dates"),
    ],
)
def test_dates_are_dates_in_every_form_and_it_is_said(tmp_path: Path, form: str, days: str) -> None:
    when = [datetime(2024, 1, 20, tzinfo=UTC) + timedelta(days=n) for n in range(4)]
    rows = "user,item,date\n" + "".join(f"x,{'ab'[n % 2]},{form.format(day)}\n" for n, day in enumerate(when))
    dataset, report = _read(tmp_path, rows=rows)
    assert dataset.interactions.times.tolist() == [int(day.timestamp()) for day in when]
    assert report.times == f"{days}, 2024-01-20 to 2024-01-23"
    assert f"times read as {report.times}" in report.lines()


def test_eight_digits_that_are_no_days_are_seconds(tmp_path: Path) -> None:
    rows = "user,item,time\nx,a,20240120\nx,b,20240199\ny,a,20991399\n"
    dataset, report = _read(tmp_path, rows=rows)
    assert dataset.interactions.times.tolist() == [20240120, 20240199, 20991399]
    assert report.times == "seconds, 1970-08-23 to 1970-08-31"


@pytest.mark.parametrize("nobody", ["nan", "NaN", "None", "null", "<NA>", " nan "])
def test_what_stands_for_nobody_is_no_user_and_no_item(tmp_path: Path, nobody: str) -> None:
    items = ITEMS + f"{nobody},Gamma,\nc,NaN,\n"
    rows = ROWS + f"{nobody},a,1\nx,{nobody},1\n"
    dataset, report = _read(tmp_path, items, rows, limit=0.6)
    assert dataset.catalogue.keys == ("a", "b") and dataset.interactions.user_keys == ("x", "y")
    assert {reason: bad.rows for reason, bad in report.bad.items()} == {
        f"items.csv: item id {nobody.strip()!r}": [4],
        "items.csv: empty title": [5],
        f"rows.csv: user id {nobody.strip()!r}": [5],
        f"rows.csv: item id {nobody.strip()!r}": [6],
    }


def test_ids_that_became_decimals_are_whole_numbers_again(tmp_path: Path) -> None:
    dataset, report = _read(tmp_path, "id,title\n7,A\n8,B\n", "user,item\n1.0,7.0\n2.0,8.0\n1.0,8.0\n")
    assert dataset.interactions.user_keys == ("1", "2") and dataset.catalogue.keys == ("7", "8")
    assert dataset.interactions.items.tolist() == [0, 1, 1] and report.bad == {}


def test_decimals_beside_whole_numbers_in_one_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'rows.csv': column 'item' holds '7.0' in row 3 and '7' in row 2 \(write all"):
        _read(tmp_path, "id,title\n7,A\n8,B\n", "user,item\nx,7\nx,7.0\n")


def test_times_before_1970_and_to_come_are_bad_rows(tmp_path: Path) -> None:
    rows = ROWS + "x,a,-5\nx,a,1969-05-05\nx,a,4102444800\nx,a,2150-01-01\n"
    with pytest.raises(DataError, match=r"before 1970: 2 \(rows 5, 6;.*in the future: 2 \(rows 7, 8;"):
        _read(tmp_path, rows=rows)


def test_mixed_units_are_read_and_said(tmp_path: Path) -> None:
    rows = "user,item,time\nx,a,1600000000\nx,b,1600000001000\ny,a,2020-09-13 12:26:42\ny,b,1600000003\n"
    dataset, report = _read(tmp_path, rows=rows)
    assert dataset.interactions.times.tolist() == [1600000000 + second for second in range(4)]
    assert report.times == "2 in seconds, 1 in milliseconds, 1 in dates, 2020-09-13 to 2020-09-13"


def test_rows_alike_count_once_where_there_are_times(tmp_path: Path) -> None:
    dataset, report = _read(tmp_path, rows=ROWS + "x,a,100\nx,a,101\n")
    assert dataset.interactions.times.tolist() == [100, 101, 200, 300]
    assert report.notes == ["1 repeated interactions of a user with an item, of the same time, left out"]
    again, report = _read(tmp_path, rows="user,item\nx,a\nx,b\nx,a\n")
    assert again.interactions.items.tolist() == [0, 1, 0]


def test_one_item_is_refused_and_one_user_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'items.csv' holds one item only.*two items or more"):
        _read(tmp_path, items="id,title\na,A\n", rows="user,item\nx,a\ny,a\n")
    dataset, report = _read(tmp_path, rows="user,item\nx,a\nx,b\n")
    assert dataset.users == 1 and report.notes == [
        "one user only: run it as one client, there is nobody to share it out to"
    ]


def test_row_numbers_count_lines_and_quoted_line_ends(tmp_path: Path) -> None:
    items = 'id,title\na,"Two\nlines"\n,Nameless\nb,B\n'
    dataset, report = _read(tmp_path, items=items, limit=0.5)
    assert dataset.catalogue.titles == ("Two lines", "B")
    assert report.bad["items.csv: empty item id"].rows == [4]
