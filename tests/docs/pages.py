"""The pages and the fenced blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
COMMANDS = ("", "sh")
"""Languages of blocks that are typed into a shell; a block that names none is taken for one."""

_FENCE = re.compile(r"^( *)```([\w-]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: the page relative to the checkout, its line there, its language, its text."""

    page: str
    line: int
    language: str
    text: str


def pages() -> list[str]:
    """Every page for users, relative to the checkout: the README, docs, and how to deploy."""
    docs = sorted(path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "docs").glob("*.md"))
    return ["README.md", *docs, "deploy/README.md"]


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in its order; a fence that never closes is an error."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    found = [Block(page, text[: m.start()].count("\n") + 1, m[2], m[3]) for m in _FENCE.finditer(text)]
    fences = len(re.findall(r"^ *```", text, re.MULTILINE))
    assert fences == 2 * len(found), f"{page}: {fences} fences make no {len(found)} blocks"
    return found


def lines(block: Block) -> list[str]:
    """The commands of a block: continued lines joined, comments and empty lines left out."""
    joined = block.text.replace("\\\n", " ")
    without = (re.sub(r"(^|\s)#\s.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in without if line]
