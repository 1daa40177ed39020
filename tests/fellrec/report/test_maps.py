"""fellrec/report/maps.py: shades between the least and the most, an open diagonal, and bounds on size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fellrec.report.maps import CELLS, LEVELS, MAPS, Shades, drawable, maps
from tests.fellrec.report.reading import Page


def matrix(clients: list[str]) -> dict[str, dict[str, float]]:
    return {to: {by: 0.9 if to == by else 0.01 * (place + 1) for place, by in enumerate(clients)} for to in clients}


def test_the_diagonal_is_open_and_shades_span_the_rest() -> None:
    clients = ["a", "b", "c"]
    page = Page(maps("map", "Maps", "d", {1: matrix(clients)}, clients))
    cells = [found for tag, found in page.elements if tag == "rect"]
    assert [found["class"] for found in cells[:9]].count("own") == 3
    shaded = [float(found["fill-opacity"] or 0) for found in cells[:9] if found["class"] == "cell"]
    assert max(shaded) == 1.0 and min(shaded) < 0.1
    assert "round 1: a takes 0.02 from b" in page.said and "0.01" in page.said and "0.03" in page.said


def test_weights_that_are_alike_are_in_the_middle() -> None:
    shades = Shades.over([{"a": {"a": 0.5, "b": 0.5}, "b": {"a": 0.5, "b": 0.5}}])
    assert shades is not None and shades.level(0.5) == LEVELS // 2
    assert Shades.over([{"a": {"a": 1.0}}]) is None


def test_many_clients_are_paths_and_not_elements_a_cell() -> None:
    clients = [f"c{n}" for n in range(60)]
    page = Page(maps("map", "Maps", "d", {1: matrix(clients), 9: matrix(clients)}, clients))
    assert page.tags().count("path") <= 2 * (LEVELS + 1) and len(page.elements) < 100
    drawn = sum((found["d"] or "").count("M") for tag, found in page.elements if tag == "path")
    assert drawn == 2 * 60 * 59


@given(st.integers(0, 500), st.integers(1, 400))
def test_drawn_rounds_are_few_in_order_and_with_the_last(rounds: int, clients: int) -> None:
    numbers = list(range(1, rounds + 1))
    found = drawable(numbers, clients)
    assert len(found) <= MAPS and len(found) * clients * clients <= CELLS
    assert found == sorted(set(found)) and set(found) <= set(numbers)
    assert not (rounds and found) or found[-1] == rounds
