"""The live page: its frame, and the script that fills it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fellrec.live.board import NAMES
from fellrec.live.feed import Position
from fellrec.report.document import document
from fellrec.report.markup import Markup, tag
from fellrec.report.style import STYLE, allowed

SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
POLICY = (
    f"default-src 'none'; style-src {allowed(STYLE)}; script-src {allowed(SCRIPT)}; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but this page's own style and script runs, and nothing but its own address is asked."""

TITLES = {
    "clients": "Clients",
    "curves": "Learning curves",
    "attention": "Who learns from whom",
    "troubles": "Failures and warnings",
}


def page(run: str, position: Position, parts: Mapping[str, Markup]) -> str:
    """The page with every part as it is at ``position``; it can be read without the script too."""
    sections = [
        tag(
            "section",
            tag("h2", TITLES[name], id=f"{name}-heading") if name in TITLES else None,
            tag("div", parts[name], id=f"part-{name}"),
            id=name,
            aria_labelledby=f"{name}-heading" if name in TITLES else None,
        )
        for name in NAMES
    ]
    return document(
        f"fellrec live: {run or 'waiting'}",
        tag(
            "header",
            tag("p", "fellrec live: ", tag("span", "not connected", id="stream", role="status")),
            class_="stream",
        ),
        tag("noscript", tag("p", "Without JavaScript this page stands still: load it again.", class_="banner")),
        tag("main", sections),
        script=tag("script", Markup(SCRIPT)),
        position=str(position),
    )
