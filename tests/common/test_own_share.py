from __future__ import annotations

import numpy as np
import pytest
import torch

from common.errors import ConfigError, DataError, MessageError
from common.own_share import choose_share, interpolate


def adapter(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"q.lora_A.weight": (2, 6), "q.lora_B.weight": (5, 2), "bias": (3,)}
    return {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


def product(tensors):
    return tensors["q.lora_B.weight"].double() @ tensors["q.lora_A.weight"].double()


@pytest.mark.parametrize("merge", ["factors", "product"])
def test_the_ends_are_exact(merge):
    mixed, own = adapter(0), adapter(1)
    for share, expected in ((0.0, mixed), (1.0, own)):
        result = interpolate(mixed, own, share, merge)
        assert all(torch.equal(result[name], expected[name]) for name in mixed)
        assert all(result[name].data_ptr() != expected[name].data_ptr() for name in mixed)


def test_factors_by_hand():
    result = interpolate({"x": torch.tensor([0.0, 8.0])}, {"x": torch.tensor([4.0, 0.0])}, 0.25, "factors")
    assert result["x"].tolist() == [1.0, 6.0]


def test_products_are_interpolated_as_products():
    mixed, own = adapter(0), adapter(1)
    result = interpolate(mixed, own, 0.25, "product")
    u, s, vt = torch.linalg.svd(0.75 * product(mixed) + 0.25 * product(own), full_matrices=False)
    assert torch.allclose(product(result), (u[:, :2] * s[:2]) @ vt[:2], atol=1e-5)
    assert torch.allclose(result["bias"], 0.75 * mixed["bias"] + 0.25 * own["bias"], atol=1e-6)


def test_interpolate_refuses_what_does_not_fit():
    with pytest.raises(ConfigError, match="own share is 1.5"):
        interpolate(adapter(0), adapter(1), 1.5, "factors")
    with pytest.raises(MessageError, match="'bias'"):
        interpolate(adapter(0), adapter(1) | {"bias": torch.zeros(4)}, 0.5, "factors")
    with pytest.raises(MessageError, match="'extra'"):
        interpolate(adapter(0), adapter(1) | {"extra": torch.zeros(4)}, 0.5, "factors")


def around(mean, n=16):
    """Gains with this mean, a standard deviation of 1 (ddof 1) and so a standard error of 1 / sqrt(n)."""
    values = np.tile([1.0, -1.0], n // 2)
    return values / values.std(ddof=1) + mean


def test_the_largest_gain_that_stands_out_is_chosen():
    # The standard error is 0.25: a mean gain must exceed 0.5.
    assert choose_share({0.25: around(0.6), 0.5: around(0.8), 0.75: around(0.1)}) == 0.5
    assert choose_share({0.25: around(0.49), 0.5: around(0.4)}) == 0.0
    assert choose_share({0.25: around(0.49)}, margin=1.0) == 0.25


def test_a_large_but_noisy_gain_is_passed_over():
    assert choose_share({0.25: around(0.6), 0.5: 10 * around(0.1)}) == 0.25


def test_a_loss_is_never_chosen():
    assert choose_share({0.5: np.full(20, -0.1)}) == 0.0
    assert choose_share({0.5: np.zeros(20)}) == 0.0
    assert choose_share({}) == 0.0


def test_fewer_than_eight_users_choose_nothing():
    assert choose_share({0.5: np.ones(7)}) == 0.0
    assert choose_share({0.5: np.ones(8)}) == 0.5


def test_of_equal_gains_the_smaller_share():
    assert choose_share({0.75: np.ones(10), 0.25: np.ones(10)}) == 0.25


def test_choose_share_refuses_what_does_not_fit():
    with pytest.raises(DataError, match="not finite"):
        choose_share({0.5: [0.1] * 9 + [float("nan")]})
    with pytest.raises(DataError, match=r"\[8, 9\] users"):
        choose_share({0.25: np.ones(8), 0.5: np.ones(9)})
    with pytest.raises(ConfigError, match="shares"):
        choose_share({1.5: np.ones(8)})
    with pytest.raises(ConfigError, match="margin"):
        choose_share({0.5: np.ones(8)}, margin=-1.0)
