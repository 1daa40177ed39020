"""A run's report as a file."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import RunError
from common.run_folder import RunFolder
from fellrec.report.page import report
from fellrec.report.record import Record


def write_report(folder: RunFolder, path: Path | None = None) -> Path:
    """Writes a run's report, without ``path`` as ``report.html`` in its folder; the file is there whole or not at all.

    Raises
    ------
    RunError : it cannot be written, or the run's files are damaged.
    """
    path = path or folder.path / "report.html"
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    page = report(Record.read(folder))
    try:
        partial.write_text(page, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise RunError(f"the report cannot be written to {str(path)!r}: {error}", "give another file") from error
    return path
