"""KuaiRand as its authors publish it: Pure and 1K (github.com/chongminggao/KuaiRand)."""

from __future__ import annotations

from pathlib import Path

from common.data.clicks import ClickLog
from common.data.readers.collect import BAD_LIMIT
from common.data.readers.kuai import ClickCollector, table
from common.data.readers.reader import reader
from common.data.readers.report import ReadReport
from common.errors import DataError

LICENCE = "CC BY-SA 4.0"
SOURCE = (
    "KuaiRand-{release}, Kuaishou. Cite C. Gao, S. Li, Y. Zhang, J. Chen, B. Li, W. Lei, P. Jiang and X. He, KuaiRand: An "
    "Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos, CIKM 2022 (doi 10.1145/3511808.3557624)."
)
USER_ATTRIBUTES = (
    "user_active_degree",
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    "onehot_feat0",
    "onehot_feat1",
    "onehot_feat6",
    "onehot_feat9",
    "onehot_feat10",
    "onehot_feat11",
)
"""Attributes of few values; the finer one-hot features (up to 1,471 values) tell users apart one by one."""
ITEM_ATTRIBUTES = ("video_type", "upload_type", "music_type", "tag")

_LOGS = ("log_standard_4_08_to_4_21", "log_standard_4_22_to_5_08")
_RANDOM = "log_random_4_22_to_5_08"


def read(folder: Path, random: bool = False, limit: float = BAD_LIMIT) -> tuple[ClickLog, ReadReport]:
    """Read the form whose logs the folder (or its ``data`` folder) holds; only videos that some row names are kept.

    ``random`` adds the rows of the random exposure. A video with several tags has its first for ``tag``. The videos'
    daily statistics are left out: they hold later clicks. Raises DataError where no form is there, or a file has a larger
    share of bad rows than ``limit``.
    """
    places = [(place, release) for place in (folder, folder / "data") for release in ("pure", "1k")]
    found = [(place, release) for place, release in places if (place / f"{_LOGS[0]}_{release}.csv").is_file()]
    if not found:
        raise DataError(
            f"no KuaiRand data in {str(folder)!r}",
            f"give the folder with {_LOGS[0]}_pure.csv (or _1k.csv) and its tables",
        )
    data, release = found[0]
    logs = [data / f"{name}_{release}.csv" for name in (*_LOGS, *([_RANDOM] if random else []))]
    users, items = data / f"user_features_{release}.csv", data / f"video_features_basic_{release}.csv"
    collector = ClickCollector(users, items, limit)
    for row, fields in table(users, ("user_id", *USER_ATTRIBUTES)):
        collector.attribute("user", row, fields.pop("user_id", None), fields)
    shown = {fields.get("video_id", "").strip() for path in logs for _, fields in table(path, ("video_id",))}
    for row, fields in table(items, ("video_id", *ITEM_ATTRIBUTES)):
        key = fields.pop("video_id", None)
        if key is None or key.strip() in shown or not key.strip():
            collector.attribute("item", row, key, fields | {"tag": fields.get("tag", "").partition(",")[0]})
    for path in logs:
        collector.log(path, "user_id", "video_id", "is_click", "time_ms")
    name, said = f"kuairand-{release}", {"pure": "Pure", "1k": "1K"}[release]
    return collector.finish(name, USER_ATTRIBUTES, ITEM_ATTRIBUTES, LICENCE, SOURCE.format(release=said))


@reader("kuairand-pure", "kuairand-1k", clicks=True)
def _named(folder: Path, name: str) -> tuple[ClickLog, ReadReport]:
    return read(folder)
