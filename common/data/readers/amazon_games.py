"""Amazon Video Games, 5-core of the 2018 release, as a list of items and the users' sequences.

The files ``*.item``, ``*.test.inter`` and ``*.valid.inter`` are tab-separated with typed headers (``user_id:token``). A
row of the test file is a user's history in the order of time and the last item as target, 50 items at most; the
valid file is the same one item earlier. There are no times.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.data.dataset import Dataset
from common.data.readers.collect import BAD_LIMIT, Collector
from common.data.readers.reader import reader
from common.data.readers.report import ReadReport
from common.data.readers.stream import literal_table
from common.errors import DataError

NAME = "amazon-games"
LICENCE = "For research, under the terms of the data set's authors; cite J. Ni, J. Li and J. McAuley, EMNLP 2019."
SOURCE = (
    "Amazon Review Data 2018, Video Games, 5-core, sequences cut to the last 50 items. Cite J. Ni, J. Li and J. "
    "McAuley, Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects, EMNLP 2019."
)

Row = tuple[int, list[str]]


def read(folder: Path, limit: float = BAD_LIMIT) -> tuple[Dataset, ReadReport]:
    """Read the three files of a folder; a user's sequence is history and target of the test file.

    Raises DataError where a file is missing or has a larger share of bad rows than ``limit``. The report notes how many
    valid rows do not lead up to the test row of their user.
    """
    items, test, valid = (_only(folder, ending) for ending in (".item", ".test.inter", ".valid.inter"))
    collector = Collector(items, test, timed=False, limit=limit)
    for row, fields in _table(items, ("item_id", "title")):
        if len(fields) != 2:
            collector.items_tally.refuse(f"{len(fields)} fields for 2", row, fields)
        else:
            key, title = fields
            collector.item(row, key, title)
    sequences: dict[str, list[str]] = {}
    for row, fields in _table(test, ("user_id", "item_id_list", "item_id")):
        if len(fields) != 3:
            collector.rows_tally.refuse(f"{len(fields)} fields for 3", row, fields)
        elif fields[0] in sequences:
            collector.rows_tally.refuse("user comes twice", row, fields)
        else:
            sequences[fields[0]] = [*fields[1].split(), fields[2]]
            for item in sequences[fields[0]]:
                collector.interaction(row, fields[0], item)
    disagreeing = sum(
        not _agrees(sequences, fields) for _, fields in _table(valid, ("user_id", "item_id_list", "item_id"))
    )
    if disagreeing:
        collector.report.notes.append(
            f"{disagreeing} rows of {valid.name} do not lead up to their user's row in {test.name}"
        )
    return collector.dataset(NAME, LICENCE, SOURCE)


@reader(NAME)
def _named(folder: Path, name: str) -> tuple[Dataset, ReadReport]:
    return read(folder)


def _agrees(sequences: dict[str, list[str]], fields: list[str]) -> bool:
    """Whether a valid row's history and target are what the test row's history ends with (that may be cut shorter)."""
    if len(fields) != 3 or fields[0] not in sequences:
        return False
    earlier, history = [*fields[1].split(), fields[2]], sequences[fields[0]][:-1]
    shared = min(len(earlier), len(history))
    return shared > 0 and earlier[-shared:] == history[-shared:]


def _only(folder: Path, ending: str) -> Path:
    found = sorted(folder.glob(f"*{ending}"))
    if len(found) != 1:
        names = [path.name for path in found]
        raise DataError(
            f"{str(folder)!r} holds {names!r} where one file '*{ending}' should be",
            "give the folder with *.item, *.test.inter and *.valid.inter",
        )
    return found[0]


def _table(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    """The rows with the columns in the order asked for; a row of another width comes as it is."""
    rows = literal_table(path)
    _, first = next(rows, (0, [""]))
    header = [name.partition(":")[0].strip() for name in first]
    missing = [name for name in columns if name not in header]
    if missing:
        raise DataError(f"{path.name!r} has no column {missing[0]!r}, only {header!r}", "give the file as published")
    order = [header.index(name) for name in columns]
    for row, fields in rows:
        if any(field.strip() for field in fields):
            yield row, [fields[i] for i in order] if len(fields) == len(header) else fields
