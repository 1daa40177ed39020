"""fellrec/report/histogram.py: every value is in one bin, and the columns stand for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fellrec.report.histogram import BINS, binned, histogram
from tests.fellrec.report.reading import Page

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(VALUES)
def test_every_value_is_counted_once_in_bins_that_join(values: list[float]) -> None:
    found = binned(values)
    assert len(found) == BINS and sum(many for _, _, many in found) == len(values)
    slack = 1e-6 * (found[-1][1] - found[0][0])
    assert all(abs(high - low) <= slack for (_, high, _), (low, _, _) in zip(found, found[1:], strict=False))
    assert found[0][0] <= min(values) + slack and max(values) <= found[-1][1] + slack


@given(VALUES)
def test_whatever_the_values_it_can_be_drawn_inside_its_picture(values: list[float]) -> None:
    page = Page(histogram("h", "Values", "d", values, "AUC"))
    for tag, found in page.elements:
        if tag == "rect":
            x, y, width, height = (float(found[name] or 0) for name in ("x", "y", "width", "height"))
            assert x >= 0 and x + width <= 360 and y >= 0 and height >= 0


def test_columns_are_as_high_as_their_counts_and_the_median_is_named() -> None:
    page = Page(histogram("h", "Values", "d", [0.0, 0.5, 0.5, 1.0], "AUC"))
    heights = [float(found["height"] or 0) for tag, found in page.elements if tag == "rect"]
    assert len(heights) == 3 and heights[1] == 2 * heights[0] == 2 * heights[2]
    assert "median 0.5" in page.said and "0.5 to 0.55: 2 clients" in page.said
