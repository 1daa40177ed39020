from __future__ import annotations

import pytest

from common.cut import Cut, owner, side_name, whole_name
from common.errors import ModelError
from tests.common.cut.tiny import tiny_config

CUT = Cut(1, 2)


@pytest.mark.parametrize(
    ("family", "name", "side"),
    [
        ("llama", "model.layers.0.mlp.up_proj.weight", "client"),
        ("llama", "layers.1.mlp.up_proj.weight", "server"),
        ("llama", "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight", "server"),
        ("llama", "model.layers.3.mlp.up_proj.weight", "client"),
        ("llama", "lm_head.weight", "client"),
        ("llama", "model.norm.weight", "client"),
        ("gpt2", "transformer.h.2.ln_1.bias", "server"),
        ("gpt2", "h.4.ln_1.bias", "client"),
        ("gpt2", "wte.weight", "client"),
        ("bert", "bert.encoder.layer.1.output.dense.weight", "server"),
        ("bert", "cls.predictions.decoder.weight", "client"),
        ("bert", "pooler.dense.weight", "client"),
    ],
)
def test_every_tensor_has_one_owner(family: str, name: str, side: str) -> None:
    assert owner(name, CUT, tiny_config(family)) == side


@pytest.mark.parametrize(
    ("family", "causal", "whole", "server"),
    [
        ("llama", True, "model.layers.2.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight"),
        ("llama", False, "layers.2.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight"),
        ("bert", False, "base_model.model.encoder.layer.1.a", "base_model.model.bert.encoder.layer.1.a"),
        ("gpt2", False, "base_model.model.h.1.a", "base_model.model.transformer.h.1.a"),
    ],
)
def test_the_servers_names(family: str, causal: bool, whole: str, server: str) -> None:
    config = tiny_config(family)
    assert whole_name(server, "server", CUT, config, causal) == whole
    assert side_name(whole, "server", CUT, config, causal) == server


def test_a_name_of_the_other_side_is_refused() -> None:
    config = tiny_config("llama")
    with pytest.raises(ModelError, match="lives on the server, not on the client"):
        side_name("layers.2.mlp.up_proj.weight", "client", CUT, config)
    with pytest.raises(ModelError, match="lives on the client, not on the server"):
        whole_name("model.layers.0.mlp.up_proj.weight", "server", CUT, config)
