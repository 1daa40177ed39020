"""A copy of the code with the rule of docs/own-rule.md in it: its file, and its line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.docs.pages import CHECKOUT, blocks

PAGE = "docs/own-rule.md"
COPIED = ("common", "server_app", "client_app", "fellrec", "recipes", "tests", "pyproject.toml", "README.md", "LICENSE")


def with_own_rule(folder: Path) -> Path:
    """Copies the code to ``folder`` and does there what the page says: one file, one line; returns the folder."""
    for name in COPIED:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
    text = (CHECKOUT / PAGE).read_text(encoding="utf-8")
    (source,) = [block.text for block in blocks(PAGE) if block.language == "python"]
    (change,) = [block.text for block in blocks(PAGE) if block.language == "diff"]
    path, table = re.search(r"^`([\w/]+\.py)`:\n\n```python", text, re.M), re.search(r"^In `([\w/]+\.py)`", text, re.M)
    assert path and table and not (folder / path[1]).exists()
    (folder / path[1]).write_text(source, encoding="utf-8")
    before, after = ("".join(line[1:] for line in change.splitlines(True) if line[0] in keep) for keep in (" -", " +"))
    assert [line[0] for line in change.splitlines()].count("+") == 1 and "-" not in {
        line[0] for line in change.splitlines()
    }
    old = (folder / table[1]).read_text(encoding="utf-8")
    assert old.count(before) == 1, f"{table[1]} has no such lines:\n{before}"
    (folder / table[1]).write_text(old.replace(before, after), encoding="utf-8")
    return folder
