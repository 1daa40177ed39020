from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.data.click_folder import load_clicks
from common.data.dataset import Dataset
from common.data.filters import Filters
from common.data.prepare import ensure, prepare
from common.errors import ConfigError, DataError
from tests.real_data import real_data

FILMS = 'movieId,title,genres\n1,Toy Story (1995),Animation|Comedy\n2,"Matrix, The (1999)",Action\n3,Up,Drama\n4,Heat,Drama\n'
RATINGS = "userId,movieId,rating,timestamp\n" + "".join(f"1,{film},4.0,96498270{film}\n" for film in (1, 2, 3, 4))
ITEMS = "id,title\na,Alpha\nb,Beta\nc,Gamma\nd,Delta\n"


def test_a_raw_folder_needs_no_download(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "movies.csv").write_text(FILMS)
    (raw / "ratings.csv").write_text(RATINGS)
    dataset, _, _ = prepare("ml-latest-small", raw, tmp_path / "home")
    assert len(dataset.interactions) == 4
    with pytest.raises(DataError, match="holds 'ml-latest-small', not 'ml-1m'"):
        prepare("ml-1m", raw, tmp_path / "home")


def test_two_tables_make_a_set_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "rows.csv").write_text("user,item\nx,a\nx,b\nx,c\nx,d\n")
    dataset, _, folder = prepare(
        "shop", None, tmp_path, items=tmp_path / "items.csv", interactions=tmp_path / "rows.csv"
    )
    assert (dataset.name, dataset.users, folder) == ("shop", 1, tmp_path / "shop")


@pytest.mark.parametrize(
    ("name", "tables", "error", "said"),
    [
        ("shop", {}, ConfigError, "none of the named data sets.*--items FILE --interactions FILE"),
        ("sample", {"items": Path("x")}, ConfigError, "choose another name"),
        ("amazon-games", {}, DataError, "give the folder with --raw"),
        ("amazon-2023-bok", {}, ConfigError, "'amazon-2023-bok' names no set.*did you mean.*amazon-2023-books"),
        ("../shop", {}, ConfigError, "cannot name a data set"),
    ],
)
def test_what_cannot_be_prepared_says_why(tmp_path: Path, name: str, tables: dict, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        prepare(name, None, tmp_path, **tables)


def test_preparing_again_replaces_other_content_and_keeps_the_same(tmp_path: Path) -> None:
    tables = {"items": tmp_path / "items.csv", "interactions": tmp_path / "rows.csv"}
    tables["items"].write_text(ITEMS)
    tables["interactions"].write_text("user,item\nx,a\nx,b\nx,c\nx,d\n")
    first, _, folder = prepare("shop", None, tmp_path, **tables)
    (folder / "shards").mkdir()
    prepare("shop", None, tmp_path, **tables)
    assert (folder / "shards").is_dir()
    tables["interactions"].write_text("user,item\nx,b\nx,a\nx,c\nx,d\n")
    second, _, _ = prepare("shop", None, tmp_path, **tables)
    assert Dataset.load(folder).digest == second.digest != first.digest
    assert not (folder / "shards").exists()


def test_ensure_makes_the_sample_and_nothing_else(tmp_path: Path) -> None:
    assert Dataset.load(ensure("sample", tmp_path)).generated
    with pytest.raises(DataError, match="run `fellrec data prepare films`"):
        ensure("films", tmp_path)
    with pytest.raises(ConfigError, match="cannot name"):
        ensure("..", tmp_path)


def test_two_may_want_the_sample_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: ensure("sample", tmp_path), range(2)))
    assert folders == [tmp_path / "sample"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]
    assert Dataset.load(tmp_path / "sample").users == 800


def test_real_data_is_prepared_whole(tmp_path: Path) -> None:
    dataset, report, folder = prepare("ml-latest-small", real_data("ml-latest-small"), tmp_path)
    assert (dataset.users, len(dataset.catalogue), len(dataset.interactions)) == (610, 9742, 100836)
    assert report.bad == {} and report.notes == [] and report.duplicate_ids == 0
    assert Dataset.load(folder).digest == dataset.digest


def test_a_filtered_set_goes_by_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(ITEMS + "e,Epsilon\n")
    (tmp_path / "rows.csv").write_text("user,item\n" + "".join(f"{u},{i}\n" for u in "xy" for i in "abcd") + "y,e\n")
    tables = {"items": tmp_path / "items.csv", "interactions": tmp_path / "rows.csv"}
    dataset, _, folder = prepare("shop", None, tmp_path, **tables, filters=Filters(top_items=4))
    assert folder == tmp_path / "shop-top4" and dataset.name == dataset.catalogue.name == "shop-top4"
    assert Dataset.load(folder).filters == ("its most popular 4 items",)
    _, _, named = prepare("shop", None, tmp_path, **tables, filters=Filters(core=2), called="mine")
    assert named == tmp_path / "mine" and Dataset.load(named).catalogue.name == "mine"
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize("called", ["amazon-games", "ml-1m"])
def test_a_part_never_goes_by_the_name_of_a_whole_set(tmp_path: Path, called: str) -> None:
    with pytest.raises(ConfigError, match=f"'{called}' is the name of a data set as its source has it.*--as"):
        prepare("amazon-games", tmp_path, tmp_path, filters=Filters(top_items=5), called=called)


KUAISAR = {
    "df.csv": "user_id,video_id,timestamp,is_click\n" + "".join(f"0,7,168533620457{n}.0,{n % 2}\n" for n in range(5)),
    "user_features.csv": "user_id,onehot_feat1,onehot_feat2,search_active_level,reco_active_level\n0,5,2,4,2\n",
    "video_features.csv": (
        "video_id,item_type,upload_type,first_level_category_name,second_level_category_name,"
        "third_level_category_name,fourth_level_category_name\n7,0,14,25,131,284,32\n"
    ),
}


def test_a_click_log_is_prepared_whole_under_its_own_name(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, text in KUAISAR.items():
        (raw / name).write_text(text)
    log, _, folder = prepare("kuaisar-r", raw, tmp_path)
    assert load_clicks(folder).digest == log.digest and len(log) == 5
    mark = folder / "mark"
    mark.touch()
    prepare("kuaisar-r", raw, tmp_path)
    assert mark.is_file()
    _, _, named = prepare("kuaisar-r", raw, tmp_path, called="mine")
    assert load_clicks(named).name == "mine"
    with pytest.raises(ConfigError, match="filters are for catalogues"):
        prepare("kuaisar-r", raw, tmp_path, filters=Filters(core=2))
    with pytest.raises(DataError, match="holds 'kuaisar-r', not 'kuaisar'"):
        prepare("kuaisar", raw, tmp_path)
    with pytest.raises(DataError, match="give the folder with --raw"):
        prepare("kuairand-1k", None, tmp_path)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [f"u{n},{'abcd'[n % 4]},{n}" for n in range(8)],
            "no user of data set 'shop' can be tested.*8 have no history",
        ),
        (
            [f"{user},{item},{n}" for user in "xy" for n, item in enumerate("abcda")],
            r"can be tested by split 'leave-last-out': 2 had their test items before \(a user needs an item at the end",
        ),
        (["x,a,1", "x,b,2", "x,c,3"], "no user of data set 'shop' has two training interactions"),
    ],
)
@pytest.mark.parametrize("timed", [True, False])
def test_a_set_that_no_split_can_test_is_refused_and_not_kept(
    tmp_path: Path, rows: list[str], said: str, timed: bool
) -> None:
    (tmp_path / "items.csv").write_text(ITEMS)
    written = [row if timed else row.rpartition(",")[0] for row in ["user,item,time", *rows]]
    (tmp_path / "rows.csv").write_text("\n".join(written))
    with pytest.raises(DataError, match=said):
        prepare("shop", None, tmp_path, items=tmp_path / "items.csv", interactions=tmp_path / "rows.csv")
    assert not (tmp_path / "shop").exists()


def test_what_each_split_can_test_is_reported(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(ITEMS)
    rows = [f"again,{item},{n}" for n, item in enumerate("abca")] + ["short,a,9"]
    rows += [f"new,{item},{n}" for n, item in enumerate("abcd", 5)]
    (tmp_path / "rows.csv").write_text("user,item,time\n" + "\n".join(rows))
    tables = {"items": tmp_path / "items.csv", "interactions": tmp_path / "rows.csv"}
    _, report, _ = prepare("shop", None, tmp_path, **tables)
    told = "by leave-last-out, 1 of 3 users can be tested; 1 had their test items before, 1 have no history or no test item"
    assert told in report.lines() and report.lines()[-1].startswith("by global-time, ")


def test_a_click_log_of_single_moments_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for name, text in KUAISAR.items():
        (tmp_path / "raw" / name).write_text(text)
    (tmp_path / "raw" / "df.csv").write_text("user_id,video_id,timestamp,is_click\n" + "0,7,1685336204570.0,0\n" * 5)
    with pytest.raises(DataError, match="no user of click log 'kuaisar-r' can be tested"):
        prepare("kuaisar-r", tmp_path / "raw", tmp_path)
