"""What a reader met: rows, and what was wrong with those it left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from common.errors import DataError

ROWS_NAMED = 5


@dataclass
class BadRows:
    """The rows of one file left out for one reason: how many, the first few line numbers, the first one's content."""

    count: int = 0
    rows: list[int] = field(default_factory=list)
    first: str = ""

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.rows) else ""
        return f"{self.count} (rows {', '.join(map(str, self.rows))}{more}; the first reads {self.first})"


@dataclass
class ReadReport:
    """What one reading met.

    Parameters
    ----------
    rows : data rows read, over all files.
    bad : "file: reason" to the rows left out for it.
    duplicate_ids : items whose id had come before; the first one stays.
    duplicate_titles : items whose title another item had before; they stay items of their own.
    times : the form that times were read in, with the first and the last day (UTC); empty where that is the source's own.
    testable : by split, how many users can be tested, and why not the others.
    notes : what else a reader of the numbers should know.
    """

    rows: int = 0
    bad: dict[str, BadRows] = field(default_factory=dict)
    duplicate_ids: int = 0
    duplicate_titles: int = 0
    times: str = ""
    testable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report in words, a line each."""
        told = [f"rows read: {self.rows}"]
        told += [f"left out, {reason}: {rows}" for reason, rows in self.bad.items()]
        if self.duplicate_ids:
            told.append(f"items whose id had come before, left out: {self.duplicate_ids}")
        if self.duplicate_titles:
            told.append(f"items with another item's title, kept apart: {self.duplicate_titles}")
        if self.times:
            told.append(f"times read as {self.times}")
        return told + self.notes + [f"by {how}, {users}" for how, users in self.testable.items()]


class Tally:
    """Counts the rows of one file into a report, and refuses the file where too many are bad."""

    def __init__(self, report: ReadReport, path: Path, limit: float) -> None:
        self.report, self.path, self.limit = report, path, limit
        self.rows = 0
        self._bad: dict[str, BadRows] = {}

    def good(self) -> None:
        """Count a row that was taken."""
        self.rows += 1

    def refuse(self, reason: str, row: int, content: object) -> None:
        """Count a row that was left out."""
        self.rows += 1
        bad = self._bad.setdefault(reason, BadRows(first=f"{content!r:.120}"))
        bad.count += 1
        if len(bad.rows) < ROWS_NAMED:
            bad.rows.append(row)

    def close(self) -> None:
        """Add to the report; raises DataError where the share of bad rows is above the limit, or no row is good."""
        self.report.rows += self.rows
        self.report.bad |= {f"{self.path.name}: {reason}": bad for reason, bad in self._bad.items()}
        count = sum(bad.count for bad in self._bad.values())
        if self.rows > count and count <= self.limit * self.rows:
            return
        if not self.rows:
            raise DataError(f"{self.path.name!r} holds no rows", f"look at {str(self.path)!r}")
        reasons = "; ".join(f"{reason}: {bad}" for reason, bad in self._bad.items())
        raise DataError(
            f"{self.path.name!r}: {count} of {self.rows} rows are bad, the limit is {self.limit:.1%}: {reasons}",
            "mend these rows, or look whether this is the file you meant",
        )
