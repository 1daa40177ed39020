"""common/dropout.py: off in training mode, in models that keep it as modules, as numbers or in their configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from common.config import ModelConfig
from common.dropout import without_dropout
from common.recommenders.build import build
from tests.common.cut.tiny import PUBLISHED_DROPOUT, tiny_config
from tests.federation import tiny_model

SHAPE = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
OTHERS = {
    "distilbert": {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 32},
    "mpnet": {},
    "electra": {"embedding_size": 16},
    "deberta-v2": {},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 16, "dropout": 0.3, "attention_dropout": 0.3, "layerdrop": 0.3},
    "phi": {"resid_pdrop": 0.3, "embd_pdrop": 0.3, "attention_dropout": 0.3},
    "gpt_neox": {"hidden_dropout": 0.3, "attention_dropout": 0.3},
    "bloom": {"n_head": 2, "n_layer": 2, "hidden_dropout": 0.3, "attention_dropout": 0.3},
}


@pytest.mark.parametrize(
    "config",
    [
        *(tiny_config(family, **dropout) for family, dropout in PUBLISHED_DROPOUT.items()),
        *(AutoConfig.for_model(kind, **SHAPE | changes) for kind, changes in OTHERS.items()),
    ],
    ids=lambda config: config.model_type,
)
def test_training_mode_draws_nothing(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.train()
    ids = torch.arange(2, 18).view(2, 8)
    one, other = (model(input_ids=ids).last_hidden_state for _ in range(2))
    assert not torch.equal(one, other), "the test would see nothing"
    assert without_dropout(model) is model
    one, other = (model(input_ids=ids).last_hidden_state for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(one, model.eval()(input_ids=ids).last_hidden_state)


def test_a_configuration_within_a_configuration_has_none_either() -> None:
    holder = nn.Module()
    holder.config = PreTrainedConfig(attention_dropout=0.5, initializer_range=0.5)
    holder.config.text_config = PreTrainedConfig(resid_pdrop=0.5)
    without_dropout(holder)
    assert (holder.config.attention_dropout, holder.config.text_config.resid_pdrop) == (0.0, 0.0)
    assert holder.config.initializer_range == 0.5


def test_full_fine_tuning_keeps_the_models_own_dropout(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path)
    for adapter, kept in (("full", True), ("lora", False)):
        model = ModelConfig(name=str(folder), max_tokens=48, item_tokens=8, adapter=adapter)
        found = [module.p for module in build(model, 0).modules() if isinstance(module, nn.Dropout)]
        assert any(found) == kept and found
