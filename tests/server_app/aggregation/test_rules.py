from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, MessageError
from server_app.aggregation import RULES
from server_app.aggregation.fedavg import FedAvg, FedAvgUniform
from server_app.aggregation.fellrec import Fellrec, FellrecPaper
from server_app.aggregation.local import Local
from server_app.aggregation.mixing import check_mixing_matrix
from server_app.aggregation.rule import mix
from server_app.aggregation.similarity import raw_cosine
from tests.server_app.aggregation.toy import adapter, equal, updates

SIMILARITIES = ("raw", "update", "round", "product")


MATRICES = [name for name, rule in RULES.items() if hasattr(rule, "weights")]
JOINT = [name for name, rule in RULES.items() if hasattr(rule, "adapter")]


@pytest.mark.parametrize("name", MATRICES)
@given(n=st.integers(1, 5), seed=st.integers(0, 200))
@settings(max_examples=15, deadline=None)
def test_every_rule_gives_a_mixing_matrix_that_follows_a_permutation(name, n, seed):
    rule, generator = RULES[name](), torch.Generator().manual_seed(seed)
    adapters = [adapter(seed + place) for place in range(n)]
    sizes, heats = torch.randint(1, 50, (n,), generator=generator), torch.rand(n, generator=generator).clamp(min=0.1)
    weights = rule.weights(updates(adapters, sizes=sizes, heats=heats))
    check_mixing_matrix(weights, n)
    assert weights.dtype == torch.float64
    order = torch.randperm(n, generator=generator)
    turned = updates([adapters[i] for i in order], sizes=sizes[order], heats=heats[order])
    assert torch.allclose(rule.weights(turned), weights[order][:, order], atol=1e-12)


def test_every_rule_is_of_one_kind():
    assert set(MATRICES) | set(JOINT) == set(RULES) and not set(MATRICES) & set(JOINT) and JOINT


@pytest.mark.parametrize("name", JOINT)
@given(n=st.integers(1, 6), seed=st.integers(0, 200))
@settings(max_examples=15, deadline=None)
def test_every_joint_rule_is_one_for_all_whatever_the_order(name, n, seed):
    adapters = [adapter(seed + place) for place in range(n)]
    found = mix(RULES[name](), updates(adapters))
    assert (
        found.weights is None and len(found.adapters) == n and all(one is found.adapters[0] for one in found.adapters)
    )
    turned = mix(
        RULES[name](), updates([adapters[i] for i in torch.randperm(n, generator=torch.Generator().manual_seed(seed))])
    )
    assert equal(found.adapters[0], turned.adapters[0])


@pytest.mark.parametrize("name", RULES)
def test_every_rule_keeps_a_client_alone_bit_by_bit(name):
    assert equal(mix(RULES[name](), updates([adapter(0)], heats=torch.tensor([0.6]))).adapters[0], adapter(0))


def test_a_rule_that_mixes_in_no_way_is_refused():
    with pytest.raises(ConfigError, match="neither 'weights' nor 'adapter'"):
        mix(object(), updates([adapter(0)]))


def test_fedavg_by_size_by_hand():
    weights = FedAvg().weights(updates([adapter(0), adapter(1)], sizes=torch.tensor([30, 10])))
    assert weights.tolist() == [[0.75, 0.25], [0.75, 0.25]]


def test_uniform_fedavg_is_fellrec_with_similarity_and_heat_one():
    adapters = [adapter(seed) for seed in range(4)]
    uniform = FedAvgUniform().weights(updates(adapters))
    assert torch.equal(uniform, torch.full((4, 4), 0.25, dtype=torch.float64))
    assert torch.allclose(Fellrec(attention=False).weights(updates(adapters)), uniform)
    same = updates([adapter(0)] * 4)
    for similarity in SIMILARITIES:
        assert torch.allclose(Fellrec(similarity=similarity).weights(same), uniform)


def test_local_takes_nothing():
    assert torch.equal(Local().weights(updates([adapter(0), adapter(1)])), torch.eye(2, dtype=torch.float64))


def test_the_published_variant_is_raw_shifted_and_factor_wise():
    adapters, heats = [adapter(0), adapter(1)], torch.tensor([0.6, 0.9])
    s = (raw_cosine(adapters)[0, 1].item() + 1) / 2
    expected = [[1 / (1 + 0.6 * s), 0.6 * s / (1 + 0.6 * s)], [0.9 * s / (1 + 0.9 * s), 1 / (1 + 0.9 * s)]]
    paper = FellrecPaper()
    assert torch.allclose(
        paper.weights(updates(adapters, heats=heats)), torch.tensor(expected, dtype=torch.float64), atol=1e-7
    )
    assert paper.merge == "factors"


def test_a_cold_client_takes_less_of_the_others():
    weights = Fellrec().weights(updates([adapter(0), adapter(0)], heats=torch.tensor([0.604, 1.0])))
    assert weights.diagonal().tolist() == pytest.approx([1 / 1.604, 1 / 2])


def test_a_sharper_temperature_leaves_more_to_oneself():
    adapters = [adapter(0), adapter(1), adapter(2)]
    soft, sharp = (Fellrec(temperature=t).weights(updates(adapters)) for t in (1.0, 0.1))
    assert (sharp.diagonal() > soft.diagonal()).all()


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_clients_that_have_not_moved_mix_without_trouble(similarity):
    origin = adapter(0)
    rule = Fellrec(similarity=similarity)
    sent = updates([origin, origin, adapter(1)], origin=origin)
    weights = rule.weights(sent)
    check_mixing_matrix(weights, 3)
    assert (weights > 0).all()


def test_the_similarity_of_the_round_counts_from_its_start():
    origin, common = adapter(0), adapter(1)
    steps = [adapter(2), {name: -tensor for name, tensor in adapter(2).items()}]
    adapters = [{name: common[name] + step[name] for name in common} for step in steps]
    sent = replace(updates(adapters, origin=origin), start=[common, common])
    assert Fellrec(similarity="round").weights(sent)[0, 1].item() == pytest.approx(0.0, abs=1e-6)
    assert Fellrec(similarity="update").weights(sent)[0, 1] > 0.2


@pytest.mark.parametrize("setting", [{"similarity": "cosine"}, {"merge": "mean"}, {"temperature": 0.0}])
def test_fellrec_refuses_unknown_settings(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        Fellrec(**setting)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"losses": torch.tensor([1.0, float("nan")])}, "losses of client 'client-1' is nan"),
        ({"sizes": torch.tensor([1, -1])}, "sizes of client 'client-1' is -1"),
        ({"sizes": torch.tensor([0, 0])}, "sizes are all zero"),
        ({"heats": torch.tensor([1.0, 0.0])}, "heats of client 'client-1'"),
        ({"heats": torch.ones(3)}, "heats holds 3 entries for 2 clients"),
    ],
)
def test_updates_refuse_bad_numbers(given, message):
    with pytest.raises(MessageError, match=message):
        updates([adapter(0), adapter(1)], **given)


def test_updates_refuse_a_tensor_that_is_not_finite_or_missing():
    bad = adapter(1)
    bad["head.bias"][0] = float("inf")
    with pytest.raises(MessageError, match="'head.bias' of client 'client-1' is not finite"):
        updates([adapter(0), bad])
    del bad["head.bias"]
    with pytest.raises(MessageError, match="client 'client-1' lacks tensor 'head.bias'"):
        updates([adapter(0), bad])
    with pytest.raises(MessageError, match="the origin lacks tensor 'head.bias'"):
        replace(updates([adapter(0)]), origin=bad)


def test_updates_refuse_no_clients():
    with pytest.raises(MessageError, match="clients of the round"):
        updates([])
