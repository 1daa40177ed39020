"""A chapter's section of a report."""

from __future__ import annotations

from dataclasses import dataclass

from fellrec.report.markup import Content, Markup, join, tag


@dataclass(frozen=True)
class Section:
    """A part of a report under its own heading; ``name`` is unique in the report."""

    name: str
    title: str
    body: Markup

    def markup(self) -> Markup:
        """The section with its heading."""
        return tag(
            "section",
            tag("h2", self.title, id=f"{self.name}-heading"),
            self.body,
            id=self.name,
            aria_labelledby=f"{self.name}-heading",
        )


def section(name: str, title: str, *body: Content) -> Section:
    """A section of these parts."""
    return Section(name, title, join(*body))


def paragraph(*content: Content) -> Markup:
    """A paragraph."""
    return tag("p", *content)


def figures(*content: Content) -> Markup:
    """Pictures beside each other where there is room."""
    return tag("div", *content, class_="figures")


def cards(pairs: list[tuple[str, str]]) -> Markup:
    """Headline numbers, each with what it is."""
    return tag("ul", [tag("li", tag("b", value), tag("span", what)) for what, value in pairs], class_="cards")
