from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from common.adapters.gated import GatedSettings
from common.errors import ConfigError, ModelError
from common.recommenders.click.model import ITEM_ID, ClickModel, ClickShape, click_loss
from common.scopes import Owner

SHAPE = ClickShape({"age": 3, "city": 4}, {"kind": 5, "tag": 6})
USERS = torch.tensor([[0, 1], [2, 3]])
ITEMS = torch.tensor([[4, 5], [0, 0]])
PAPER = [GatedSettings(gate_width=8), GatedSettings(gate_width=4)]


def test_the_plain_model_is_the_papers() -> None:
    model = ClickModel(SHAPE, seed=0)
    tables = [*model.user_embeddings.values(), *model.item_embeddings.values()]
    x = torch.cat([table(codes) for table, codes in zip(tables, torch.cat([USERS, ITEMS], -1).T, strict=True)], -1)
    assert x.shape == (2, 32)
    for layer in model.layers:
        x = torch.relu(x @ layer.weight.T + layer.bias)
    torch.testing.assert_close(model(USERS, ITEMS), (x @ model.output.weight.T + model.output.bias).squeeze(-1))
    assert [layer.out_features for layer in model.layers] == [32, 8]


def test_the_seed_alone_decides_and_the_global_state_is_left_alone() -> None:
    first = ClickModel(SHAPE, seed=4).state_dict()
    state = torch.get_rng_state()
    second = ClickModel(SHAPE, seed=4).state_dict()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["output.weight"], ClickModel(SHAPE, seed=5).state_dict()["output.weight"])


def test_adapters_go_around_a_copy_and_without_a_gate_change_nothing_at_first() -> None:
    plain = ClickModel(SHAPE, seed=0)
    adapted = plain.adapt(("age", "city"), GatedSettings(gate_width=0), seed=0)
    torch.testing.assert_close(adapted(USERS, ITEMS), plain(USERS, ITEMS))
    assert all(parameter.requires_grad for parameter in plain.parameters())


def test_what_is_trained_has_an_owner_and_what_is_frozen_has_none() -> None:
    adapted = ClickModel(SHAPE, seed=0).adapt(("age", "city"), PAPER, seed=0)
    owners = adapted.owners()
    assert all((owners[name] is not Owner.NOBODY) == own.requires_grad for name, own in adapted.named_parameters())
    counts = {owner: sum(1 for own in owners.values() if own is owner) for owner in Owner}
    assert counts == {
        Owner.CLIENT: 2 + 2 * 2,
        Owner.GROUP: 2 * 2 * 2,
        Owner.ITEM: 0,
        Owner.ALL: 2 * 4 + 2,
        Owner.NOBODY: 2 + 2 * 2,
    }
    assert [layer.gate.hidden.out_features for layer in adapted.layers] == [8, 4]


def test_the_plain_model_trains_all_but_the_row_of_each_item() -> None:
    model = ClickModel(ClickShape({"age": 3}, {"kind": 5, ITEM_ID: 9}), seed=0)
    owners = model.plain().owners()
    assert {name for name, owner in owners.items() if owner is Owner.NOBODY} == {f"item_embeddings.{ITEM_ID}.weight"}
    assert owners["item_embeddings.kind.weight"] is Owner.ITEM and owners["layers.0.weight"] is Owner.ALL
    assert all(parameter.requires_grad for parameter in model.parameters()), "the warm start itself stays as it was"


def test_the_loss_counts_unmasked_places_only() -> None:
    logits, clicks = torch.randn(3, 4), torch.randint(2, (3, 4))
    mask = torch.tensor([[True, True, False, False], [True] * 4, [False] * 4])
    losses = click_loss(logits, clicks, mask)
    torch.testing.assert_close(losses[0], binary_cross_entropy_with_logits(logits[0, :2], clicks[0, :2].float()))
    torch.testing.assert_close(losses[1], click_loss(logits, clicks)[1])
    assert losses[2] == 0


def test_a_trained_model_tells_clicks_that_follow_an_item_attribute() -> None:
    torch.manual_seed(0)
    users, items = torch.randint(3, (200, 2)), torch.randint(5, (200, 2))
    clicks = (items[:, 0] > 2).long()
    model = ClickModel(SHAPE, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        loss = click_loss(model(users, items), clicks)
        loss.backward()
        optimiser.step()
    assert loss < 0.1


def test_what_makes_no_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="'a b'"):
        ClickShape({"a b": 3}, {"kind": 5})
    with pytest.raises(ConfigError, match="item attributes"):
        ClickShape({"age": 3}, {})
    plain = ClickModel(SHAPE, seed=0)
    with pytest.raises(ConfigError, match="'kind'"):
        plain.adapt(("kind",), PAPER, seed=0)
    with pytest.raises(ConfigError, match="1 settings"):
        plain.adapt(("age",), PAPER[:1], seed=0)
    with pytest.raises(ModelError, match="has adapters"):
        plain.adapt(("age",), PAPER, seed=0).adapt(("age",), PAPER, seed=0)
