"""A page as a browser reads it, as far as tests ask."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "hr", "img", "input"}
HEADINGS = ("h1", "h2", "h3")


class Page(HTMLParser):
    """Elements with their attributes and their text; fails on tags that do not match.

    Attributes
    ----------
    elements : (tag, attributes) in their order. pictures : of each svg, the tags and texts of its children.
    said : all text but that of styles and scripts.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.pictures: list[list[tuple[str, str]]] = []
        self.said = ""
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag == "svg":
            self.pictures.append([])
        elif "svg" in self._open:
            self.pictures[-1].append((tag, ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, (tag, self._open)
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            return
        self.said += data
        if "svg" in self._open and self.pictures[-1]:
            tag, text = self.pictures[-1][-1]
            self.pictures[-1][-1] = (tag, text + data)

    def values(self, attribute: str) -> list[str]:
        """All values of an attribute."""
        return [found[attribute] or "" for _, found in self.elements if attribute in found]

    def tags(self) -> list[str]:
        """All tags."""
        return [tag for tag, _ in self.elements]


def sound(source: str) -> Page:
    """The page, after what holds for every page: nothing outside is named, ids are unique, pictures are told in words."""
    page = Page(source)
    assert "http:" not in source and "https:" not in source and "url(" not in source and "@import" not in source
    assert not any(found.startswith("//") for found in page.values("href") + page.values("src"))
    assert not page.values("style") and not any(name.startswith("on") for _, found in page.elements for name in found)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert all(part in ids for told in page.values("aria-labelledby") for part in told.split())
    assert all(target[1:] in ids for target in page.values("href"))
    assert all(picture[0][0] == "title" and picture[0][1].strip() for picture in page.pictures)
    levels = [HEADINGS.index(tag) for tag in page.tags() if tag in HEADINGS]
    assert levels[0] == 0 and levels.count(0) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert ("html", {"lang": "en"}) in page.elements
    assert page.tags().count("figure") <= page.tags().count("details") <= page.tags().count("table")
    return page
