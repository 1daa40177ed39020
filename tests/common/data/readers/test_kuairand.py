from __future__ import annotations

from pathlib import Path

import pytest

from common.data.readers.kuairand import ITEM_ATTRIBUTES, USER_ATTRIBUTES, read
from common.errors import DataError

LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)
ROW = "{user},{video},20220421,400,{time},{click},0,0,0,0,0,1,151024,104400,0,0,0,0,1\n"
USER_COLUMNS = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,"
    "follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,"
    "register_days_range," + ",".join(f"onehot_feat{n}" for n in range(18)) + "\n"
)
USERS = USER_COLUMNS + '4,full_active,0,0,1,5,"(0,10]",312,"[100,1k)",0,0,3624,730+' + ",1.0" * 12 + "," * 6 + "\n"
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag\n"
    '1,441,NORMAL,2020-07-08,ShortImport,1.0,17200.0,720,1280,989206467,4.0,"12,65"\n'
    "2,7,AD,2020-07-08,LongImport,1.0,,720,1280,1,,\n"
    "3,7,AD,2020-07-08,LongImport,1.0,,720,1280,1,,\n"
)


def write(folder: Path, release: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "log_standard_4_08_to_4_21": LOG + ROW.format(user=4, video=1, time=1650485801301, click=1),
        "log_standard_4_22_to_5_08": LOG + ROW.format(user=4, video=2, time=1650585801301, click=0),
        "log_random_4_22_to_5_08": LOG + ROW.format(user=4, video=1, time=1650595801301, click=0),
        "user_features": USERS,
        "video_features_basic": VIDEOS,
    }
    for name, text in files.items():
        (folder / f"{name}_{release}.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("release", ["pure", "1k"])
@pytest.mark.parametrize("inner", ["", "data"])
def test_both_releases(tmp_path: Path, release: str, inner: str) -> None:
    write(tmp_path / inner, release)
    log, report = read(tmp_path)
    assert log.name == f"kuairand-{release}" and log.item_keys == ("1", "2")
    assert log.clicks.tolist() == [1, 0] and log.times.tolist() == [1650485801301, 1650585801301]
    assert (log.user_attributes.names, log.item_attributes.names) == (USER_ATTRIBUTES, ITEM_ATTRIBUTES)
    values = dict(zip(log.user_attributes.names, log.user_attributes.values, strict=True))
    assert values["follow_user_num_range"] == ("", "(0,10]") and values["onehot_feat0"] == ("", "1")
    assert log.item_attributes.values[ITEM_ATTRIBUTES.index("tag")] == ("", "12")
    assert log.item_attributes.codes[1].tolist()[2:] == [0, 0]
    assert report.bad == {}


def test_random_exposure_is_added_on_request(tmp_path: Path) -> None:
    log, _ = read(write(tmp_path, "pure"), random=True)
    assert log.clicks.tolist() == [1, 0, 0] and log.items.tolist() == [0, 1, 0]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no KuaiRand data"):
        read(tmp_path)
    (write(tmp_path, "1k") / "user_features_1k.csv").unlink()
    with pytest.raises(DataError, match=r"user_features_1k\.csv"):
        read(tmp_path)


def test_rows_alike_are_counted_and_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "pure") / "log_standard_4_22_to_5_08_pure.csv"
    path.write_text(path.read_text() + ROW.format(user=4, video=2, time=1650585801301, click=1) * 2)
    log, report = read(tmp_path)
    assert len(log) == 4 and "2 rows repeat the user, item and moment of another; all are kept" in report.lines()
