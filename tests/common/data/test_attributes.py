from __future__ import annotations

import numpy as np
import pytest

from common.data.attributes import Attributes
from common.errors import DataError


def test_values_are_coded_in_sorted_order_and_what_is_absent_is_code_0() -> None:
    attributes = Attributes.encode([{"kind": "b"}, {"kind": "a", "x": "1"}, {}], ["kind", "x"])
    assert attributes.values == (("", "a", "b"), ("", "1"))
    assert attributes.codes.tolist() == [[2, 0], [1, 1], [0, 0]]
    assert attributes.sizes == {"kind": 3, "x": 2} and attributes.of("kind").tolist() == [2, 1, 0]
    with pytest.raises(DataError, match="'y'"):
        attributes.of("y")


def test_values_and_codes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="codes of attribute 'x'"):
        Attributes(("x",), (("",),), np.array([[1]]))
    with pytest.raises(DataError, match="empty one first"):
        Attributes(("x",), (("a",),), np.array([[0]]))
    with pytest.raises(DataError, match="stands twice"):
        Attributes(("x", "x"), (("",), ("",)), np.zeros((1, 2), dtype=np.int32))
    with pytest.raises(DataError, match="codes"):
        Attributes(("x",), (("",),), np.zeros(3, dtype=np.int32))
