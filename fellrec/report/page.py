"""A report as one HTML file: nothing is fetched, nothing runs."""

from __future__ import annotations

from fellrec.report.chapters.attention import attention
from fellrec.report.chapters.cost import cost
from fellrec.report.chapters.curves import curves
from fellrec.report.chapters.overview import overview
from fellrec.report.chapters.privacy import privacy
from fellrec.report.chapters.quality import quality
from fellrec.report.chapters.section import Section
from fellrec.report.chapters.settings import rebuild, settings
from fellrec.report.chapters.speeds import speeds
from fellrec.report.chapters.troubles import troubles
from fellrec.report.document import document
from fellrec.report.markup import Markup, tag
from fellrec.report.record import Record
from fellrec.report.style import STYLE, allowed

CHAPTERS = (overview, quality, curves, attention, speeds, cost, privacy, troubles, rebuild, settings)


def report(record: Record) -> str:
    """The whole file."""
    found = [made for chapter in CHAPTERS if (made := chapter(record)) is not None]
    return document(
        f"fellrec report: {record.name}",
        tag("header", tag("p", "fellrec run report", class_="soft"), tag("h1", record.name), _contents(found)),
        tag("main", [made.markup() for made in found]),
        tag("footer", tag("p", "Made from config.json, events.jsonl and result.json of the run's folder.")),
        policy=f"default-src 'none'; style-src {allowed(STYLE)}; base-uri 'none'; form-action 'none'",
    )


def _contents(found: list[Section]) -> Markup:
    entries = [tag("li", tag("a", made.title, href=f"#{made.name}")) for made in found]
    return tag("nav", tag("ul", entries), aria_label="Contents")
