"""fellrec/report/lines.py: a line a client, gaps where it was not there, and what many have in common."""

from __future__ import annotations

import re

from fellrec.report.lines import lines
from tests.fellrec.report.reading import Page


def drawn(series: dict[str, dict[int, float]]) -> Page:
    return Page(lines("loss", "Loss", "all of it", series, "loss"))


def test_each_client_has_a_line_of_its_own_kind_and_its_values_in_words() -> None:
    page = drawn({"north": {1: 3.0, 2: 2.0}, "south": {1: 1.0, 2: 1.5}})
    paths = [found for tag, found in page.elements if tag == "path"]
    assert [(found["class"], found.get("stroke-dasharray")) for found in paths] == [
        ("line s0", None),
        ("line s1", "7 3"),
    ]
    assert "north, round 2: 2" in page.said and "south, round 1: 1" in page.said
    assert page.pictures[0][0] == ("title", "Loss")


def test_a_client_looks_the_same_where_another_has_no_values() -> None:
    pages = [drawn({"north": north, "south": {1: 1.0, 2: 1.5}}) for north in ({1: 3.0, 2: 2.0}, {})]
    looks = [[found["class"] for tag, found in page.elements if tag == "path"][-1] for page in pages]
    assert looks == ["line s1", "line s1"]


def test_a_round_without_a_value_breaks_the_line() -> None:
    page = drawn({"north": {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}, "south": {1: 2.0, 3: 2.0, 4: 2.0}})
    north, south = [found["d"] or "" for tag, found in page.elements if tag == "path"]
    assert north.count("M") == 3 and south.count("M") == 1


def test_many_clients_become_a_median_a_band_and_the_two_ends_by_name() -> None:
    series = {f"c{number:02d}": {1: float(number), 2: float(number)} for number in range(41)}
    page = drawn(series)
    assert page.tags().count("path") == 3
    assert all(said in page.said for said in ("median of 41 clients", "highest: c40", "lowest: c00", "middle half"))
    assert "median of 41 clients, round 2: 20" in page.said


def test_no_value_and_one_value_can_be_drawn() -> None:
    assert "path" not in drawn({"north": {}}).tags()
    assert "north, round 1: 0" in drawn({"north": {1: 0.0}}).said


def test_everything_lies_inside_the_picture() -> None:
    made = lines("x", "t", "d", {f"client {n}": {r: n * r * 1.0 for r in range(9)} for n in range(9)}, "loss")
    height = float(re.search(r'viewBox="0 0 360 ([\d.]+)"', made)[1])
    assert all(0 <= float(x) <= 360 for x in re.findall(r' x1?="([\d.-]+)"', made))
    assert all(0 <= float(y) <= height for y in re.findall(r' y1?="([\d.-]+)"', made))
