"""KuaiSAR, the recommendation part: the official files, and a prepared form of them with videos for items.

Official form (kuaisar.github.io/detailed_statistics.html): ``rec_inter.csv``, ``user_features.csv`` and
``item_features.csv``. Prepared form: ``df.csv`` (user_id, video_id, timestamp, is_click), ``user_features.csv`` and
``video_features.csv`` with values coded as numbers. Timestamps are those of the system handing items out, so that items
of one page share theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.data.clicks import ClickLog
from common.data.readers.collect import BAD_LIMIT
from common.data.readers.kuai import ClickCollector, table
from common.data.readers.reader import reader
from common.data.readers.report import ReadReport
from common.errors import DataError

LICENCE = "not stated in the files: for research; see kuaisar.github.io for the terms, and do not redistribute."
SOURCE = (
    "KuaiSAR, Kuaishou, {release}. Cite Z. Sun, Z. Si, X. Zang, D. Leng, Y. Niu, Y. Song, X. Zhang and J. Xu, KuaiSAR: A "
    "Unified Search And Recommendation Dataset, CIKM 2023 (arXiv 2306.07705)."
)
_CATEGORIES = tuple(f"{level}_level_category_name" for level in ("first", "second", "third", "fourth"))
ITEM_ATTRIBUTES = ("item_type", "upload_type", *_CATEGORIES)


def read(folder: Path, limit: float = BAD_LIMIT) -> tuple[ClickLog, ReadReport]:
    """Read whichever of the two forms the folder holds.

    ``caption``, ``author_id`` and ``upload_time`` of the official form are left out: the click model takes attributes
    of few values. Raises DataError where no form is there, or a file has a larger share of bad rows than ``limit``.
    """
    if (folder / "df.csv").is_file():
        users = ("onehot_feat1", "onehot_feat2", "search_active_level", "reco_active_level")
        return _read(
            folder,
            "kuaisar-r",
            "recommendation part, prepared",
            users,
            "video_features.csv",
            "video_id",
            limit,
            ("df.csv", "user_id", "video_id", "is_click", "timestamp"),
        )
    if (folder / "rec_inter.csv").is_file():
        users = ("onehot_feat1", "onehot_feat2", "search_active_level", "rec_active_level")
        return _read(
            folder,
            "kuaisar",
            "recommendation part, official files",
            users,
            "item_features.csv",
            "item_id",
            limit,
            ("rec_inter.csv", "user_id", "item_id", "click", "timestamp"),
        )
    raise DataError(
        f"no KuaiSAR data in {str(folder)!r}",
        "give the folder with rec_inter.csv, user_features.csv and item_features.csv (or df.csv and video_features.csv)",
    )


@reader("kuaisar-r", "kuaisar", clicks=True)
def _named(folder: Path, name: str) -> tuple[ClickLog, ReadReport]:
    return read(folder)


def _read(
    folder: Path,
    name: str,
    release: str,
    attributes: Sequence[str],
    features: str,
    item: str,
    limit: float,
    log: tuple[str, str, str, str, str],
) -> tuple[ClickLog, ReadReport]:
    users, items = folder / "user_features.csv", folder / features
    collector = ClickCollector(users, items, limit)
    for row, fields in table(users, ("user_id", *attributes)):
        collector.attribute("user", row, fields.pop("user_id", None), fields)
    for row, fields in table(items, (item, *ITEM_ATTRIBUTES)):
        collector.attribute("item", row, fields.pop(item, None), fields)
    collector.log(folder / log[0], *log[1:])
    return collector.finish(name, attributes, ITEM_ATTRIBUTES, LICENCE, SOURCE.format(release=release))
