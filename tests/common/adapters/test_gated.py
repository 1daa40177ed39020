from __future__ import annotations

import pytest
import torch
from torch import nn

from common.adapters.gated import GatedLinear, GatedSettings, add_gated
from common.errors import ConfigError, ModelError
from common.low_rank import pairs
from common.scopes import Owner, group_of, owner_of
from tests.common.recommenders.tiny import bert

SETTINGS = GatedSettings(rank=3, alpha=2.0, gate_width=5, common_share=0.8)


def gated(settings: GatedSettings = SETTINGS, groups: tuple[str, ...] = ("age", "city"), **kw: object) -> GatedLinear:
    torch.manual_seed(0)
    return GatedLinear(nn.Linear(6, 4), groups, settings, "layers.0", seed=1, **kw)


def moved(layer: GatedLinear) -> GatedLinear:
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    return layer


def test_the_answer_is_the_papers_formula() -> None:
    layer, x = moved(gated(activation=torch.relu)), torch.randn(2, 7, 6)
    weights = (layer.gate.paths(torch.relu(layer.gate.hidden(x)))).softmax(-1)
    low_rank = [layer.user, layer.groups["age"], layer.groups["city"]]
    paths = [torch.relu(layer.common(x))]
    paths += [2.0 / 3 * x @ path.lora_A.weight.T @ path.lora_B.weight.T for path in low_rank]
    expected = sum(weights[..., k, None] * path for k, path in enumerate(paths))
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape == (2, 7, 4)


def test_at_first_the_common_path_has_its_share_and_the_others_are_nothing() -> None:
    layer, x = gated(), torch.randn(5, 6)
    torch.testing.assert_close(layer.gate(x), torch.tensor([0.8, 0.2 / 3, 0.2 / 3, 0.2 / 3]).expand(5, -1))
    torch.testing.assert_close(layer(x), 0.8 * layer.common(x))


def test_without_a_gate_the_layer_starts_as_it_was() -> None:
    layer, x = gated(GatedSettings(gate_width=0)), torch.randn(5, 6)
    torch.testing.assert_close(layer(x), layer.common(x))


def train(layer: GatedLinear, steps: int = 3) -> dict[str, torch.Tensor]:
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    optimiser = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], lr=0.1)
    x, y = torch.randn(20, 6), torch.randn(20, 4)
    for _ in range(steps):
        optimiser.zero_grad()
        (layer(x) - y).square().mean().backward()
        optimiser.step()
    return {name: (parameter - before[name]).abs().max() for name, parameter in layer.named_parameters()}


def test_every_adapter_and_the_gate_move_and_the_common_layer_does_not() -> None:
    movement = train(gated())
    assert all((change > 0) == (not name.startswith("common.")) for name, change in movement.items()), movement


def test_with_both_factors_zero_as_released_the_adapters_never_move() -> None:
    layer = gated()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "lora_A" in name:
                parameter.zero_()
    movement = train(layer, steps=20)
    assert all(change == 0 for name, change in movement.items() if "lora_" in name)


def test_initial_values_depend_on_seed_and_name_only() -> None:
    first, second = gated().state_dict(), gated().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = GatedLinear(nn.Linear(6, 4), ("age",), SETTINGS, "layers.1", seed=1)
    assert not torch.equal(other.user.lora_A.weight, gated().user.lora_A.weight)


def test_names_tell_the_branch_and_pair_up_for_the_product_merge() -> None:
    layer = gated()
    names = {name: owner_of(f"model.layers.0.{name}") for name in layer.state_dict()}
    assert names["user.lora_A.weight"] is Owner.CLIENT
    assert names["groups.age.lora_B.weight"] is Owner.GROUP and group_of("l.groups.age.lora_B.weight") == "age"
    assert names["gate.paths.bias"] is Owner.ALL
    assert owner_of("user.weight") is Owner.ALL and group_of("user.weight") is None
    assert [pair.layer for pair in pairs(layer.state_dict())] == ["groups.age", "groups.city", "user"]


def test_a_transformer_takes_the_same_adapters() -> None:
    backbone, ids = bert(), torch.tensor([[1, 5, 8, 2]])
    with torch.no_grad():
        before = backbone(input_ids=ids).last_hidden_state
        model = add_gated(backbone, ["query", "value"], ["age"], GatedSettings(gate_width=0), seed=0)
        torch.testing.assert_close(model(input_ids=ids).last_hidden_state, before)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained and all(owner_of(name) in (Owner.CLIENT, Owner.GROUP) for name in trained)


@pytest.mark.parametrize(
    "wrong", [{"rank": 0}, {"alpha": float("nan")}, {"gate_width": -1}, {"common_share": 1.0}, {"common_share": 0.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(wrong.values())))):
        GatedSettings(**wrong)


def test_what_cannot_be_adapted_is_refused() -> None:
    with pytest.raises(ConfigError, match="a.b"):
        gated(groups=("a.b",))
    with pytest.raises(ConfigError, match="'age'"):
        gated(groups=("age", "age"))
    with pytest.raises(ConfigError, match="neither"):
        gated(GatedSettings(user=False), groups=())
    with pytest.raises(ModelError, match="Embedding"):
        GatedLinear(nn.Embedding(3, 4), ("age",), SETTINGS, "table", seed=0)
    with pytest.raises(ModelError, match="'nowhere'"):
        add_gated(bert(), ["nowhere"], ["age"], SETTINGS, seed=0)
