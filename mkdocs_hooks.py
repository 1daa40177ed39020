"""For the site only: deploy/README.md lies outside docs/, where a forge shows it, and is a page of the site all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

SOURCE, PAGE = Path(__file__).parent / "deploy" / "README.md", "deploy.md"


def on_files(files: Files, config: Any) -> Files:
    """Adds the page."""
    files.append(File.generated(config, PAGE, content=SOURCE.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turns links that lead there in the checkout into links that lead there in the site."""
    return markdown.replace("(../deploy/README.md", f"({PAGE}")
