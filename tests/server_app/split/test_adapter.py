from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from common.adapters.lora import LoraSettings, add_lora
from common.errors import SplitError
from server_app.split.adapter import HostedAdapter, initial
from server_app.split.settings import AdamW
from tests.server_app.split.tiny import LAYERS, WIDTH, trained

CPU = torch.device("cpu")
SHAPES = {"layer.0": (6, 4), "layer.1": (4, 6)}


def adapter() -> HostedAdapter:
    return HostedAdapter(initial(SHAPES, 2, seed=3), AdamW(), CPU)


def gradients(of: HostedAdapter, seed: int) -> list[torch.Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(one.shape, generator=generator) for one in of.parameters.values()]


def test_a_hosted_adapter_starts_as_the_whole_models_does(folders: dict[str, Path]) -> None:
    whole = add_lora(AutoModel.from_pretrained(folders["bert"]), LoraSettings(targets="query"), seed=11)
    layers = [f"encoder.layer.{index}.attention.self.query" for index in range(LAYERS)]
    drawn = initial(dict.fromkeys(layers, (WIDTH, WIDTH)), 8, seed=11)
    expected = trained(whole)
    assert drawn.keys() == expected.keys()
    for name, tensor in drawn.items():
        assert torch.equal(tensor, expected[name]), name


def test_a_copy_goes_on_as_the_original_would() -> None:
    one = adapter()
    one.step([gradients(one, 0)], 0.1)
    other = one.copy()
    restored = HostedAdapter.restored(one.state(), AdamW(), CPU)
    for step in (1, 2):
        for each in (one, other, restored):
            each.step([gradients(one, step), gradients(one, step + 10)], 0.1)
    for name, tensor in one.tensors().items():
        assert torch.equal(other.tensors()[name], tensor)
        assert torch.equal(restored.tensors()[name], tensor)


def test_a_fresh_copy_has_forgotten_its_steps() -> None:
    one = adapter()
    one.step([gradients(one, 0)], 0.1)
    fresh = one.fresh()
    assert all(key.startswith("adapter/") for key in fresh.state())
    assert all(torch.equal(tensor, one.tensors()[name]) for name, tensor in fresh.tensors().items())


def test_a_tensor_without_a_gradient_stays() -> None:
    one = adapter()
    before, (_, *rest) = one.tensors(), gradients(one, 0)
    one.step([[None, *rest]], 0.1)
    changed = [not torch.equal(tensor, before[name]) for name, tensor in one.tensors().items()]
    assert changed == [False, True, True, True]


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape", "finite"])
def test_what_does_not_fit_is_not_loaded(fault: str) -> None:
    one = adapter()
    before = one.tensors()
    state = {name: tensor + 1 for name, tensor in before.items()}
    name = next(iter(state))
    if fault == "missing":
        del state[name]
    if fault == "unknown":
        state["other"] = torch.zeros(1)
    if fault == "shape":
        state[name] = torch.zeros(1, 1)
    if fault == "finite":
        state[name] = torch.full_like(state[name], float("nan"))
    with pytest.raises(SplitError, match=fault):
        one.load(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.tensors().items())
