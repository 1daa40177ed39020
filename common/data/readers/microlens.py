"""MicroLens, short videos with titles (Westlake University): MicroLens-50k and MicroLens-100k.

Forms, as published (https://github.com/westlake-repl/MicroLens): ``MicroLens-50k_pairs.csv`` with the columns user, item
and timestamp in milliseconds; ``MicroLens-50k_titles.csv`` with item and title, or ``MicroLens-100k_title_en.csv``, the
same without a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.data.dataset import Dataset
from common.data.readers.collect import BAD_LIMIT, Collector
from common.data.readers.reader import reader
from common.data.readers.report import ReadReport
from common.data.readers.stream import first_of, table

_TITLES = ("titles.csv", "title_en.csv", "title.csv")
_REMEDY = "get it from the data set's own site, and give the folder with --raw"
SIZES = {"microlens-50k": "50k", "microlens-100k": "100k"}
_CITE = (
    "Y. Ni, Y. Cheng, X. Liu, J. Fu, Y. Li, X. He, Y. Zhang and F. Yuan, A Content-Driven Micro-Video Recommendation "
    "Dataset at Scale, arXiv:2309.15379, 2023"
)
LICENCE = f"For research, under the terms on the data set's site; no redistribution. Cite {_CITE}."


@reader(*SIZES)
def read(folder: Path, name: str, limit: float = BAD_LIMIT) -> tuple[Dataset, ReadReport]:
    """Read pairs and titles; videos that nobody met, or without a title, are left out.

    Raises DataError where a file is missing or has a larger share of bad rows than ``limit``.
    """
    size = SIZES[name]
    pairs = first_of(folder, [f"MicroLens-{size}_pairs.csv"], name, _REMEDY)
    titles = first_of(folder, [f"MicroLens-{size}_{ending}" for ending in _TITLES], name, _REMEDY)
    collector = Collector(titles, pairs, timed=True, limit=limit)
    for row, fields in _rows(pairs):
        try:
            user, item, time = fields
            collector.meeting(row, user, item, int(float(time)) // 1000)
        except (ValueError, OverflowError):
            collector.rows_tally.refuse("not user, item and time", row, fields)
    untitled = 0
    for row, fields in _rows(titles):
        if len(fields) < 2:
            collector.items_tally.refuse(f"{len(fields)} fields for 2", row, fields)
        elif collector.has(fields[0].strip()):
            # A title that holds a comma is not always quoted.
            title = ",".join(fields[1:]).strip()
            if title:
                collector.item(row, fields[0], title)
            else:
                untitled += 1
    if untitled:
        collector.report.notes.append(f"{untitled} videos without a title left out")
    return collector.dataset(name, LICENCE, f"MicroLens-{size}, short videos and their titles. Cite {_CITE}.")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows without the header, where there is one."""
    for place, (row, fields) in enumerate(table(path)):
        if place or fields[0].strip().isdigit():
            yield row, fields
