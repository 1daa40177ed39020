"""A copy of the code with the rules of docs/own-rule.md in it, each its file and nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.docs.pages import CHECKOUT

PAGE = "docs/own-rule.md"
COPIED = ("common", "server_app", "client_app", "fellrec", "recipes", "tests", "pyproject.toml", "README.md", "LICENSE")


def with_own_rules(folder: Path) -> Path:
    """Copies the code to ``folder`` and puts the page's files in their places; returns the folder."""
    for name in COPIED:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
    text = (CHECKOUT / PAGE).read_text(encoding="utf-8")
    files = re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", text, re.M | re.S)
    assert len(files) == 2
    for path, source in files:
        assert not (folder / path).exists()
        (folder / path).write_text(source, encoding="utf-8")
    return folder
