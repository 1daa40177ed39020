from __future__ import annotations

import pytest
import torch

from common.adapters.gated import GatedSettings
from common.adapters.many import pick, repeat, run, stack
from common.errors import ModelError
from common.recommenders.click.model import ClickModel, ClickShape, click_loss

SHAPE = ClickShape({"age": 3, "city": 4}, {"kind": 5}, width=4, layers=(6, 3))
CLIENTS, ROWS = 5, 7


def model() -> ClickModel:
    return ClickModel(SHAPE, seed=0).adapt(("age",), GatedSettings(rank=2, gate_width=4), seed=0)


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    users = torch.stack([torch.randint(n, (CLIENTS, ROWS), generator=generator) for n in (3, 4)], dim=-1)
    items = torch.randint(5, (CLIENTS, ROWS, 1), generator=generator)
    return users, items, torch.randint(2, (CLIENTS, ROWS), generator=generator)


def trained(one: ClickModel) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in one.named_parameters() if p.requires_grad}


def test_many_clients_train_as_each_would_alone() -> None:
    users, items, clicks = inputs()
    together = repeat(trained(model()), CLIENTS)
    for tensor in together.values():
        tensor.requires_grad_(True)
    optimiser = torch.optim.Adam(together.values(), lr=0.05)
    shared = model()
    for _ in range(3):
        optimiser.zero_grad()
        click_loss(run(shared, together, users, items), clicks).sum().backward()
        optimiser.step()
    for client in range(CLIENTS):
        alone = model()
        own = torch.optim.Adam([p for p in alone.parameters() if p.requires_grad], lr=0.05)
        for _ in range(3):
            own.zero_grad()
            click_loss(alone(users[client], items[client]), clicks[client]).backward()
            own.step()
        for name, tensor in pick(together, client).items():
            torch.testing.assert_close(tensor, trained(alone)[name], atol=2e-5, rtol=1e-4)


def test_one_client_is_the_case_of_one() -> None:
    users, items, _ = inputs()
    one = model()
    torch.testing.assert_close(run(one, repeat(trained(one), 1), users[:1], items[:1])[0], one(users[0], items[0]))


def test_stacking_and_picking_are_inverse() -> None:
    states = [{"w": torch.randn(2, 3), "b": torch.randn(2)} for _ in range(4)]
    stacked = stack(states)
    for place, state in enumerate(states):
        assert all(torch.equal(tensor, state[name]) for name, tensor in pick(stacked, place).items())


def test_what_does_not_fit_is_refused() -> None:
    users, items, _ = inputs()
    with pytest.raises(ModelError, match="no states"):
        stack([])
    with pytest.raises(ModelError, match="state 1"):
        stack([{"w": torch.zeros(2)}, {"w": torch.zeros(3)}])
    with pytest.raises(ModelError, match="'nothing'"):
        run(model(), {"nothing": torch.zeros(CLIENTS, 2)}, users, items)
    with pytest.raises(ModelError, match=r"\[3, 5\]"):
        run(model(), repeat(trained(model()), 3), users, items)
