"""fellrec/commands/report.py: the file is where it was asked for, whole, or there is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common.errors import RunError
from fellrec.commands.report import report_command
from tests.fellrec.report.logs import folder, log, result

app = typer.Typer()
app.command()(report_command)


def test_the_report_lies_in_the_runs_folder_or_where_it_was_asked_for(tmp_path: Path) -> None:
    run = folder(tmp_path / "one", log(), result())
    done = CliRunner().invoke(app, [str(run.path)], catch_exceptions=False)
    assert done.stdout.strip() == str(run.path / "report.html")
    assert (run.path / "report.html").read_text().startswith("<!doctype html>")
    CliRunner().invoke(app, [str(run.path), "--out", str(tmp_path / "r.html")], catch_exceptions=False)
    assert (tmp_path / "r.html").read_bytes() == (run.path / "report.html").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_is_not_there_and_a_place_that_cannot_be_written_are_named(
    tmp_path: Path, fellrec_home: Path
) -> None:
    with pytest.raises(RunError, match="no run 'two'"):
        CliRunner().invoke(app, ["two"], catch_exceptions=False)
    run = folder(tmp_path / "one", log())
    with pytest.raises(RunError, match="cannot be written"):
        CliRunner().invoke(app, [str(run.path), "--out", str(tmp_path / "no" / "r.html")], catch_exceptions=False)
