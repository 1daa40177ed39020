from __future__ import annotations

import math

import pytest
import torch
from transformers import PreTrainedModel

from common.adapters.lora import LoraSettings, add_lora, load_trainable, train_fully, trainable_state
from common.errors import ConfigError, ModelError
from tests.common.recommenders.tiny import SHAPE, bert, longformer

SETTINGS = LoraSettings(rank=2, alpha=4, targets="query, value")
IDS = torch.tensor([[1, 5, 8, 2]])


def hidden(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).last_hidden_state


def adapted(seed: int = 0) -> torch.nn.Module:
    return add_lora(bert(), SETTINGS, seed).eval()


def test_an_adapted_backbone_starts_as_it_was_and_trains_its_adapters_only() -> None:
    before = hidden(bert())
    model = adapted()
    torch.testing.assert_close(hidden(model), before)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * 2 * SHAPE["num_hidden_layers"]
    assert all(".lora_A." in name or ".lora_B." in name for name in trained)


def test_the_same_seed_gives_the_same_a_whatever_was_drawn_before_and_leaves_the_global_state_alone() -> None:
    first = trainable_state(adapted())
    torch.rand(7)
    backbone = bert()
    state = torch.get_rng_state()
    second = trainable_state(add_lora(backbone, SETTINGS, 0))
    assert torch.equal(torch.get_rng_state(), state)
    other = trainable_state(adapted(seed=1))
    bound = 1 / math.sqrt(SHAPE["hidden_size"])
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name])
        if name.endswith("lora_A.weight"):
            assert not torch.equal(tensor, other[name])
            assert bound / 2 < tensor.abs().max() <= bound
        else:
            assert not tensor.any()


def test_a_layers_draw_does_not_depend_on_the_other_layers() -> None:
    both = trainable_state(adapted())
    alone = trainable_state(add_lora(bert(), LoraSettings(rank=2, targets="value"), 0))
    assert alone.keys() < both.keys()
    assert all(torch.equal(tensor, both[name]) for name, tensor in alone.items())


def test_peft_s_default_targets_are_taken_where_it_has_some() -> None:
    state = trainable_state(add_lora(bert(), LoraSettings(rank=2), 0))
    assert {name.split(".")[-3] for name in state} == {"query", "value"}


def test_where_peft_has_no_default_the_choices_are_named() -> None:
    with pytest.raises(ModelError, match=r"model type 'longformer'.*query_global"):
        add_lora(longformer(), LoraSettings(rank=2), 0)


def test_an_unknown_target_is_refused_with_the_choices() -> None:
    with pytest.raises(ModelError, match=r"'q_proj' is no linear layer.*dense, key, query, value"):
        add_lora(bert(), LoraSettings(rank=2, targets="query,q_proj"), 0)


@pytest.mark.parametrize("whole", [False, True])
def test_state_makes_another_model_compute_the_same(whole: bool) -> None:
    def model(seed: int) -> PreTrainedModel:
        return train_fully(bert(seed)) if whole else adapted()

    source, target = model(0), model(1)
    state = {
        name: tensor + torch.linspace(0, 1, tensor.numel()).view_as(tensor)
        for name, tensor in trainable_state(source).items()
    }
    load_trainable(source, state)
    load_trainable(target, state)
    assert trainable_state(target).keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in trainable_state(target).items())
    assert torch.equal(hidden(target), hidden(source))


def test_full_training_holds_every_parameter() -> None:
    backbone = train_fully(bert().requires_grad_(False))
    assert trainable_state(backbone).keys() == dict(backbone.named_parameters()).keys()


def test_the_state_is_a_copy() -> None:
    model = adapted()
    state = trainable_state(model)
    for tensor in state.values():
        tensor.fill_(9.0)
    assert all(not torch.equal(tensor, state[name]) for name, tensor in trainable_state(model).items())


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "is missing"),
        ("unknown", "'other' is unknown"),
        ("shape", r"has shape \(1,\)"),
        ("nan", "not finite"),
        ("inf", "not finite"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(whole: bool, fault: str, message: str) -> None:
    model = train_fully(bert()) if whole else adapted()
    before = trainable_state(model)
    state = {name: tensor + 1 for name, tensor in before.items()}
    last = list(state)[-1]
    if fault == "missing":
        del state[last]
    elif fault == "unknown":
        state["other"] = torch.zeros(1)
    elif fault == "shape":
        state[last] = torch.zeros(1)
    else:
        state[last].view(-1)[0] = math.nan if fault == "nan" else math.inf
    with pytest.raises(ModelError, match=message):
        load_trainable(model, state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainable_state(model).items())


@pytest.mark.parametrize(
    "settings", [{"rank": 0}, {"alpha": 0.0}, {"alpha": math.inf}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"lora {next(iter(settings))} is"):
        LoraSettings(**settings)
