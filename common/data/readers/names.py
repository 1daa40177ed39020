"""The named data sets: what each name stands for, and who reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from common.data.clicks import ClickLog
from common.data.dataset import Dataset
from common.data.readers import amazon, amazon_games, kuairand, kuaisar, microlens, movielens
from common.data.readers.report import ReadReport
from common.errors import ConfigError, DataError

# Categories as the releases write them; a data set's name has them in lower case with dashes: amazon-2023-books.
_SHARED = (
    "All_Beauty", "Appliances", "Arts_Crafts_and_Sewing", "Automotive", "Books", "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories", "Clothing_Shoes_and_Jewelry", "Digital_Music", "Electronics", "Gift_Cards",
    "Grocery_and_Gourmet_Food", "Home_and_Kitchen", "Industrial_and_Scientific", "Kindle_Store",
    "Magazine_Subscriptions", "Movies_and_TV", "Musical_Instruments", "Office_Products", "Patio_Lawn_and_Garden",
    "Pet_Supplies", "Software", "Sports_and_Outdoors", "Tools_and_Home_Improvement", "Toys_and_Games", "Video_Games",
)  # fmt: skip
CATEGORIES = {
    2018: (*_SHARED, "AMAZON_FASHION", "Luxury_Beauty", "Prime_Pantry"),
    2023: (*_SHARED, "Amazon_Fashion", "Baby_Products", "Beauty_and_Personal_Care", "Handmade_Products",
           "Health_and_Household", "Health_and_Personal_Care", "Subscription_Boxes"),
}  # fmt: skip

_AMAZON = {
    f"amazon-{year}-{category.lower().replace('_', '-')}": (year, category)
    for year, categories in CATEGORIES.items()
    for category in categories
}
CLICK_LOGS: dict[str, Callable[[Path], tuple[ClickLog, ReadReport]]] = {
    "kuaisar-r": kuaisar.read,
    "kuaisar": kuaisar.read,
    "kuairand-pure": kuairand.read,
    "kuairand-1k": kuairand.read,
}
"""Click logs by name, with their readers."""

NAMED = ("sample", *movielens.RELEASES, *microlens.SIZES, amazon_games.NAME, *CLICK_LOGS, *_AMAZON)
IN_SHORT = (
    "sample",
    *movielens.RELEASES,
    *microlens.SIZES,
    amazon_games.NAME,
    "amazon-2018-CATEGORY",
    "amazon-2023-CATEGORY",
    *CLICK_LOGS,
)


def amazon_category(name: str) -> tuple[int, str] | None:
    """Release and category of an Amazon set, ``(2023, "Books")`` for ``amazon-2023-books``; None for any other name.

    Raises ConfigError for a category that its release does not have.
    """
    if name in _AMAZON:
        return _AMAZON[name]
    for year in CATEGORIES:
        if name.startswith(f"amazon-{year}"):
            there = [known.removeprefix(f"amazon-{year}-") for known in _AMAZON if f"-{year}-" in known]
            raise ConfigError(
                f"{name!r} names no category of the {year} Amazon reviews",
                f"write amazon-{year}-CATEGORY with one of {', '.join(sorted(there))}",
            )
    return None


def read(name: str, folder: Path) -> tuple[Dataset | ClickLog, ReadReport]:
    """Read the raw folder of a named data set; raises DataError for what cannot be read."""
    if name in CLICK_LOGS:
        return _click_log(name, folder)
    if found := amazon_category(name):
        return amazon.read(folder, name, *found)
    if name in microlens.SIZES:
        return microlens.read(folder, name)
    if name == amazon_games.NAME:
        return amazon_games.read(folder)
    return movielens.read(folder, name)


def _click_log(name: str, folder: Path) -> tuple[ClickLog, ReadReport]:
    log, report = CLICK_LOGS[name](folder)
    if log.name != name:
        raise DataError(f"{str(folder)!r} holds {log.name!r}, not {name!r}", f"prepare it as {log.name}")
    return log, report
