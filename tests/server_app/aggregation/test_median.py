from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from server_app.aggregation.median import Median, TrimmedMean
from tests.server_app.aggregation.toy import adapter, equal, updates

NAME = "layers.0.q.lora_A.weight"


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_median_is_numpys(n: int) -> None:
    adapters = [adapter(seed) for seed in range(n)]
    expected = np.median(np.stack([own[NAME].double().numpy() for own in adapters]), axis=0)
    assert np.allclose(Median().adapter(updates(adapters))[NAME].numpy(), expected.astype(np.float32), atol=0, rtol=0)


def test_trimmed_mean_by_hand() -> None:
    adapters = [{"a": torch.tensor([value])} for value in (-100.0, 1.0, 2.0, 6.0, 1e9)]
    assert TrimmedMean(hostile=1).adapter(updates(adapters, adapters[0]))["a"].tolist() == [3.0]
    assert TrimmedMean(hostile=2).adapter(updates(adapters, adapters[0]))["a"].tolist() == [2.0]
    assert equal(
        TrimmedMean(hostile=9).adapter(updates(adapters, adapters[0])), Median().adapter(updates(adapters, adapters[0]))
    )


@given(hostile=st.integers(1, 2), seed=st.integers(0, 100), size=st.sampled_from([1e3, -1e8, 1e30]))
@settings(max_examples=30, deadline=None)
def test_hostile_clients_move_no_number_out_of_the_honest_ones_range(hostile: int, seed: int, size: float) -> None:
    honest = [adapter(seed + place) for place in range(5 - hostile)]
    sent = [*honest, *[{name: torch.full_like(tensor, size) for name, tensor in honest[0].items()}] * hostile]
    for rule in (Median(), TrimmedMean(hostile)):
        found = rule.adapter(updates(sent))
        for name, tensor in found.items():
            values = torch.stack([own[name] for own in honest])
            assert (tensor >= values.amin(0)).all() and (tensor <= values.amax(0)).all()


def test_nobody_hostile_is_another_strategy() -> None:
    with pytest.raises(ConfigError, match="'robust.hostile' = 0"):
        TrimmedMean(0)
