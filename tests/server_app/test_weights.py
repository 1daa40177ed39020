"""server_app/weights.py: what of a mixing matrix stands in the log."""

from __future__ import annotations

import json

import torch

from server_app.weights import FEW, LARGEST, largest_weights


def test_of_few_clients_all_weights_stand_there() -> None:
    weights = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64)
    assert largest_weights(weights, ["a", "b"]) == {"a": {"a": 0.75, "b": 0.25}, "b": {"a": 0.5, "b": 0.5}}
    assert largest_weights(weights[:1], ["a", "b"])["b"] == {"a": 0.75, "b": 0.25}
    assert largest_weights(None, ["a"]) == {}


def test_of_many_each_one_s_own_and_its_largest_and_no_more_than_a_log_bears() -> None:
    n = 1343
    clients = [f"kuaisar-r-{place:04d}" for place in range(n)]
    weights = torch.rand(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights /= weights.sum(dim=1, keepdim=True)
    found = largest_weights(weights, clients)
    assert n > FEW and all(len(row) in (LARGEST, LARGEST + 1) and client in row for client, row in found.items())
    assert max(found[clients[7]].values()) == float(weights[7].max())
    assert len(json.dumps(found)) < 500_000
