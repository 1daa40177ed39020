"""HTML and SVG as strings in which text is escaped unless it is markup already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from common.printable import printable

_VOID = {"br", "meta", "link", "hr"}


class Markup(str):
    """A string that is HTML or SVG. Every other string is text, also what an f-string makes of one of these."""

    __slots__ = ()


Content = str | Iterable["Content"] | None


def text(content: str) -> Markup:
    """Text as markup: escaped, for elements and for attributes in double quotes; unseen characters become U+FFFD."""
    return Markup(escape(printable(content), quote=True))


def join(*content: Content) -> Markup:
    """The parts one after the other: strings escaped, markup as it is, iterables taken apart, None left out."""
    return Markup("".join(_parts(content)))


def tag(name: str, /, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """An element with its content.

    ``class_`` is written ``class`` and ``stroke_width`` ``stroke-width``. None and False leave an attribute out, True writes
    its name alone. There are no ``style`` attributes: the pages' content security policy forbids them.
    """
    written = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*content)}</{name}>")


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    return f' {name}="{text(f"{value:.6g}" if isinstance(value, float) else str(value))}"'


def _parts(content: Iterable[Content]) -> Iterable[str]:
    for part in content:
        if part is None:
            continue
        if isinstance(part, Markup):
            yield part
        elif isinstance(part, str):
            yield text(part)
        else:
            yield from _parts(part)
