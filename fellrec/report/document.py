"""The HTML around a report and around the live page."""

from __future__ import annotations

from fellrec.report.markup import Content, Markup, join, tag
from fellrec.report.style import STYLE


def document(
    title: str, *body: Content, policy: str = "", script: Markup | None = None, position: str | None = None
) -> str:
    """An HTML page in our style.

    Parameters
    ----------
    policy : the content security policy that the page brings along, for a page that no server sends. position : how far
        the page's script finds it.
    """
    guard = tag("meta", http_equiv="Content-Security-Policy", content=policy) if policy else None
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            guard,
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", title),
            tag("style", Markup(STYLE)),
        ),
        tag("body", tag("div", join(*body), class_="page"), script, data_position=position),
        lang="en",
    )
