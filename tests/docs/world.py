"""What a user who follows the pages has: a checkout, raw files of each kind, tables of a shop; all of it small and generated."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

from common.data.sample import generate
from tests.docs.pages import CHECKOUT, blocks
from tests.federation import tiny_causal_model, tiny_model

USERS, ITEMS = 60, 40
WORDS = ("Red", "Blue", "Green", "Quiet", "Lost"), ("Fox", "Bear", "Owl", "Hare"), ("Road", "River")
TITLES = [f"{one} {two} {three}" for one in WORDS[0] for two in WORDS[1] for three in WORDS[2]]


def histories(seed: int = 0) -> list[list[int]]:
    """The items of each user in order, 6 of 40; everybody keeps to a half of them, and all are met."""
    draw = random.Random(seed)
    return [draw.sample(range(user % 2 * 20, user % 2 * 20 + 20), 6) for user in range(USERS)]


def make(folder: Path) -> Path:
    """A working folder with everything in it; returns it."""
    for name in ("recipes", "deploy"):
        shutil.copytree(CHECKOUT / name, folder / name)
    shutil.copy(CHECKOUT / "Makefile", folder)
    raw = folder / "downloads"
    for name, write in RAW.items():
        (raw / name).mkdir(parents=True)
        write(raw / name)
    tiny_model(folder / "models" / "encoder")
    tiny_causal_model(folder / "models" / "causal")
    generate(users=USERS, items=120).save(folder / ".fellrec" / "data" / "sample")
    shop(folder)
    return folder


def shop(folder: Path) -> None:
    """The shop of docs/own-data.md, by the page's own program."""
    (program,) = [block.text for block in blocks("docs/own-data.md") if block.language == "python"]
    (folder / "make_shop.py").write_text(program, encoding="utf-8")
    subprocess.run([sys.executable, "make_shop.py"], cwd=folder, check=True)


def _movielens(folder: Path) -> None:
    rows = [f"{item + 1},{title} (1995),Drama|Comedy" for item, title in enumerate(TITLES)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *rows]) + "\n")
    rated = [
        f"{user + 1},{item + 1},4.0,{1000 * place + user}"
        for user, items in enumerate(histories())
        for place, item in enumerate(items)
    ]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rated]) + "\n")


def _games(folder: Path) -> None:
    rows = [f"{item}\t{title}" for item, title in enumerate(TITLES)]
    (folder / "Games.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *rows]) + "\n")
    for ending, last in ((".test.inter", 6), (".valid.inter", 5)):
        rows = [
            f"{user}\t{' '.join(map(str, items[: last - 1]))}\t{items[last - 1]}"
            for user, items in enumerate(histories())
        ]
        header = "user_id:token\titem_id_list:token_seq\titem_id:token"
        (folder / f"Games{ending}").write_text("\n".join([header, *rows]) + "\n")


def _amazon(folder: Path) -> None:
    reviews = [
        {"reviewerID": f"A{user}", "asin": f"B{item}", "overall": 5.0, "unixReviewTime": 100 * place}
        for user, items in enumerate(histories())
        for place, item in enumerate(items)
    ]
    about = [{"asin": f"B{item}", "title": title, "brand": "Ace"} for item, title in enumerate(TITLES)]
    for name, rows in (("Video_Games_5.json", reviews), ("meta_Video_Games.json", about)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def _microlens(folder: Path) -> None:
    rows = [
        f"{user},{item},{1583378000000 + 1000 * place}"
        for user, items in enumerate(histories())
        for place, item in enumerate(items)
    ]
    (folder / "MicroLens-50k_pairs.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    titles = [f"{item},{title}" for item, title in enumerate(TITLES)]
    (folder / "MicroLens-50k_titles.csv").write_text("\n".join(["item,title", *titles]) + "\n")


def _kuaisar(folder: Path) -> None:
    draw = random.Random(0)
    users = [f"{user},{user % 4},{user % 3},{user % 2},{user % 3}" for user in range(24)]
    videos = [f"{video},{video % 2},14,{video % 5},131,284,32" for video in range(30)]
    rows = [
        f"{user},{video},{1685336000000 + 1000 * place}.0,{int((user + video) % 2 == 0) ^ (draw.random() < 0.1)}.0"
        for user in range(24)
        for place, video in enumerate(draw.sample(range(30), 20))
    ]
    levels = [f"{level}_level_category_name" for level in ("first", "second", "third", "fourth")]
    tables = {
        "df.csv": ["user_id,video_id,timestamp,is_click", *rows],
        "user_features.csv": ["user_id,onehot_feat1,onehot_feat2,search_active_level,reco_active_level", *users],
        "video_features.csv": [",".join(["video_id,item_type,upload_type", *levels]), *videos],
    }
    for name, lines in tables.items():
        (folder / name).write_text("\n".join(lines) + "\n")


RAW = {
    "ml-latest-small": _movielens,
    "amazon-games": _games,
    "games": _games,
    "amazon": _amazon,
    "microlens": _microlens,
    "kuaisar-r": _kuaisar,
}
"""Raw files by the folder below ``downloads/`` that pages name, or mean by DIR."""
