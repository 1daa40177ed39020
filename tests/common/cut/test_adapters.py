"""Adapters on both sides of a cut: their gradients, and their names as parts of the whole model's adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from common.adapters.lora import LoraSettings, add_lora, trainable_state
from common.cut import FAMILIES, Cut, Side, client_side, server_side, side_name, whole_name
from tests.common.cut.tiny import CAUSAL, VOCABULARY, batch, load_whole, real_positions, tiny_config

TARGETS = {"modernbert": ["Wqkv", "Wo"]} | dict.fromkeys(CAUSAL, ["q_proj", "down_proj"])
TARGETS["gpt2"] = ["c_attn", "c_proj"]


def adapted(model: nn.Module, family: str) -> PeftModel:
    return get_peft_model(model, LoraConfig(r=2, target_modules=TARGETS.get(family, ["query", "value"])))


def random_adapter(whole: PeftModel) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    state = get_peft_model_state_dict(whole)
    return {name: torch.randn(tensor.shape, generator=generator) * 0.1 for name, tensor in sorted(state.items())}


def share(side: Side, module: PeftModel, adapter: Mapping[str, Tensor], cut: Cut, family: str) -> None:
    """Gives a side its part of the whole model's adapter."""
    config, causal = tiny_config(family), family in CAUSAL
    own = get_peft_model_state_dict(module)
    wholes = {name: whole_name(name, side, cut, config, causal) for name in own}
    assert all(side_name(whole, side, cut, config, causal) == name for name, whole in wholes.items())
    set_peft_model_state_dict(module, {name: adapter[whole] for name, whole in wholes.items()})


def sides(folder: Path, adapter: Mapping[str, Tensor], cut: Cut, family: str) -> tuple[PeftModel, PeftModel]:
    server = adapted(server_side(folder, cut), family)
    client = adapted(client_side(folder, cut, server, family in CAUSAL), family)
    share("client", client, adapter, cut, family)
    share("server", server, adapter, cut, family)
    return client, server


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_adapter_gradients_equal_the_whole_models(tiny, family: str) -> None:
    causal, config = family in CAUSAL, tiny_config(family)
    whole = adapted(load_whole(tiny(family, causal), causal), family)
    adapter = random_adapter(whole)
    set_peft_model_state_dict(whole, adapter)
    batches = [batch("left"), batch("right")]
    generator = torch.Generator().manual_seed(9)
    size = (*batches[0]["input_ids"].shape, VOCABULARY if causal else 16)
    directions = [torch.randn(size, generator=generator) * real_positions(inputs)[..., None] for inputs in batches]

    def loss_and_gradients(model: nn.Module, parts: dict[Side | None, nn.Module]) -> list[dict[str, Tensor]]:
        answers = []
        for inputs, direction in zip(batches, directions, strict=True):
            for part in parts.values():
                part.zero_grad()
            loss = (model(**inputs)[0] * direction).sum()
            loss.backward()
            answers.append({"loss": loss})
            for side, part in parts.items():
                for name, parameter in part.named_parameters():
                    if parameter.requires_grad:
                        answers[-1][whole_name(name, side, cut, config, causal) if side else name] = parameter.grad
        return answers

    expected = loss_and_gradients(whole, {None: whole})
    for cut in (Cut(2, 0), Cut(1, 1)):
        client, server = sides(tiny(family, causal), adapter, cut, family)
        found = loss_and_gradients(client, {"client": client, "server": server})
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in theirs), cut


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_two_sides_adapters_join_into_one_stock_adapter(tiny, family: str) -> None:
    causal, config = family in CAUSAL, tiny_config(family)
    whole = adapted(load_whole(tiny(family, causal), causal), family)
    adapter, cut = random_adapter(whole), Cut(1, 1)
    client, server = sides(tiny(family, causal), adapter, cut, family)
    parts = {
        side: {
            whole_name(name, side, cut, config, causal): tensor
            for name, tensor in get_peft_model_state_dict(module).items()
        }
        for side, module in (("client", client), ("server", server))
    }
    assert not parts["client"].keys() & parts["server"].keys()
    joined = parts["client"] | parts["server"]
    assert joined.keys() == adapter.keys()
    assert set_peft_model_state_dict(whole, joined).unexpected_keys == []
    inputs = batch("right")
    real = real_positions(inputs)
    assert torch.equal(client(**inputs)[0][real], whole(**inputs)[0][real])


def test_two_sides_adapters_start_as_the_whole_models_does(tiny) -> None:
    folder, settings = tiny("llama", True), LoraSettings(rank=2)
    whole = add_lora(load_whole(folder, True), settings, seed=3)
    client = add_lora(client_side(folder, Cut(1, 1), causal=True), settings, seed=3)
    server = add_lora(server_side(folder, Cut(1, 1)), settings, seed=3)
    expected, found = trainable_state(whole), trainable_state(client) | trainable_state(server)
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
