from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.data.click_split import check_leakage, split_clicks
from common.data.readers.kuaisar import read
from common.errors import DataError
from tests.real_data import real_data

PREPARED = {
    "df.csv": "user_id,video_id,timestamp,is_click\n0,7,1685336204570.0,0\n0,8,1685336204570.0,1\n1,7,1685336306019.0,1\n",
    "user_features.csv": (
        "user_id,onehot_feat1,onehot_feat2,search_active_level,reco_active_level\n1,4,1,0,1\n0,5,2,4,2\n9,0,0,0,0\n"
    ),
    "video_features.csv": (
        "video_id,item_type,upload_type,first_level_category_name,second_level_category_name,"
        "third_level_category_name,fourth_level_category_name\n7,0,14,25,131,284,32\n8,1,28,17,143,284,32\n"
    ),
}
OFFICIAL = {
    "rec_inter.csv": (
        "user_id,item_id,playing_time,duration_ms,time,timestamp,click,forward,like,follow,search,search_item_related\n"
        "5,1,60792.0,45400.0,2023-05-22 15:53:20,1.684742e+12,1,0,0,0,0,0\n"
        "5,2,10.0,45400.0,2023-05-22 15:53:25,1684742005000.0,0,0,0,0,0,0\n"
    ),
    "user_features.csv": "user_id,search_active_level,rec_active_level,onehot_feat1,onehot_feat2\n5,1,2,0,3\n",
    "item_features.csv": (
        "item_id,caption,author_id,item_type,upload_time,upload_type,first_level_category_id,first_level_category_name,"
        "first_level_category_name_en,second_level_category_id,second_level_category_name,second_level_category_name_en,"
        "third_level_category_id,third_level_category_name,third_level_category_name_en,fourth_level_category_id,"
        "fourth_level_category_name,fourth_level_category_name_en\n"
        '1,"[1, 213, 24]",10,NORMAL,2023-04-22,LongImport,9,搞笑,Funny,136,搞笑段子,Funny joke,0,空,empty,0,空,empty\n'
        '2,"[]",0,NORMAL,1970-1-1,ShortImport,9,搞笑,Funny,136,,Funny joke,0,空,empty,0,空,empty\n'
    ),
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_prepared_form(tmp_path: Path) -> None:
    log, report = read(write(tmp_path, PREPARED))
    assert (log.user_keys, log.item_keys) == (("0", "1"), ("7", "8"))
    assert log.clicks.tolist() == [0, 1, 1] and log.times.tolist() == [1685336204570] * 2 + [1685336306019]
    assert log.user_attributes.sizes["reco_active_level"] == 3
    assert log.user_attributes.values[0] == ("", "4", "5")
    assert report.notes == ["1 users without a row left out"] and report.bad == {}
    assert "2306.07705" in log.source and not log.generated


def test_the_official_form(tmp_path: Path) -> None:
    log, _ = read(write(tmp_path, OFFICIAL))
    assert log.name == "kuaisar" and log.clicks.tolist() == [1, 0]
    assert log.times.tolist() == [1684742000000, 1684742005000]
    names = log.item_attributes.names
    assert names == (
        "item_type",
        "upload_type",
        "first_level_category_name",
        "second_level_category_name",
        "third_level_category_name",
        "fourth_level_category_name",
    )
    assert log.item_attributes.values[3] == ("", "搞笑段子") and log.item_attributes.codes[1, 3] == 0


def test_bad_rows_are_counted_and_refused_past_the_limit(tmp_path: Path) -> None:
    rows = "0,7,1,2\n0,7,soon,1\n5,7,1,1\n0,99,1,1\n0,7\n0,7,nan,1\n"
    write(tmp_path, PREPARED | {"df.csv": PREPARED["df.csv"] + rows})
    with pytest.raises(DataError, match="6 of 9 rows are bad"):
        read(tmp_path)
    log, report = read(tmp_path, limit=0.7)
    assert len(log) == 3
    assert {reason: bad.count for reason, bad in report.bad.items()} == {
        "df.csv: not a click of 0 or 1 with a time in milliseconds": 4,
        "df.csv: unknown user": 1,
        "df.csv: unknown item": 1,
    }


def test_missing_files_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no KuaiSAR data"):
        read(tmp_path)
    write(tmp_path, PREPARED | {"user_features.csv": "user_id,onehot_feat1\n0,1\n"})
    with pytest.raises(DataError, match="no column 'onehot_feat2'"):
        read(tmp_path)
    (tmp_path / "user_features.csv").unlink()
    with pytest.raises(DataError, match=r"cannot read .*user_features\.csv"):
        read(tmp_path)


def test_the_real_prepared_files() -> None:
    log, report = read(real_data("kuaisar-r"))
    assert (len(log.user_keys), len(log.item_keys), len(log)) == (1791, 69704, 117590)
    assert round(float(log.clicks.mean()), 3) == 0.514 and report.bad == {} and report.notes == []
    divided = split_clicks(log)
    check_leakage(divided)
    np.testing.assert_allclose(np.bincount(divided.parts) / len(log), (0.6, 0.2, 0.2), atol=0.02)
