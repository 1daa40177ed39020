"""docs/python.md: its blocks run from top to bottom in one namespace, in a process that has the wheel and no checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fellrec
from tests.docs.pages import blocks

PAGE = "docs/python.md"


def test_the_page_runs_as_it_stands(installed: Path, tmp_path: Path) -> None:
    parts = [block for block in blocks(PAGE) if block.language == "python"]
    program = tmp_path / "page.py"
    # a line of the program is the line of the page
    lines: list[str] = []
    for part in parts:
        lines += [""] * (part.line - len(lines)) + part.text.splitlines()
    lines += ["import fellrec", f"assert fellrec.__file__.startswith({str(installed)!r}), fellrec.__file__"]
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = os.environ | {
        "FELLREC_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(installed),
    }
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (shown,) = [block.text.splitlines() for block in blocks(PAGE) if block.language == "text"]
    words = [re.sub(r"\d+\.\d+|about \d+ s left", "", line) for line in done.stdout.splitlines()]
    assert [re.sub(r"\d+\.\d+|about \d+ s left", "", line) for line in shown] == words[3 : 3 + len(shown)]
    assert "'train.learning-rate'" in done.stdout.splitlines()[-1]


def test_the_readmes_lines_run(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = [block for block in blocks("README.md") if block.language == "python"]
    real, few = (
        fellrec.run,
        {"train.examples": 8, "evaluate.valid-users": 8, "evaluate.test-users": 8, "split.on": False},
    )
    monkeypatch.setattr(fellrec, "run", lambda recipe, settings, **chosen: real(recipe, settings | few, **chosen))
    names: dict = {}
    exec(compile(block.text.replace("run.rounds, ", "shown = run.rounds, "), "README.md", "exec"), names)
    rounds, table, recommended = names["shown"]
    assert len(rounds) == 1 and "sample-0" in table and len(recommended) == 5


def test_nothing_but_fellrec_is_imported_of_this_project() -> None:
    text = "".join(block.text for block in blocks(PAGE) if block.language == "python")
    imported = re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE)
    assert set(imported) == {"fellrec", "dataclasses", "torch"}
    named = set(re.findall(r"\bfellrec\.(\w+)", text))
    assert {"run", "load", "compare", "prepare", "sets", "rule", "Updates"} <= named <= set(fellrec.__all__)
