"""Two folders of the same weights are one model only where they compute the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.cut import FAMILIES, config_digest
from common.errors import ModelError
from tests.common.cut.tiny import PUBLISHED_DROPOUT, edit_config, tiny_config

ROTARY = {"rope_type": "default", "rope_theta": 500.0}


def digest_of(folder: Path, family: str, **changes: object) -> str:
    tiny_config(family, **changes).save_pretrained(folder)
    return config_digest(folder)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"rope_parameters": ROTARY}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}}),
        ("llama", {"rms_norm_eps": 1e-5}),
        ("llama", {"hidden_act": "gelu"}),
        ("llama", {"tie_word_embeddings": True}),
        ("bert", {"layer_norm_eps": 1e-5}),
        ("bert", {"hidden_act": "relu"}),
        ("bert", {"is_decoder": True}),
        ("roberta", {"pad_token_id": 0}),
        ("longformer", {"attention_window": [4, 4, 4, 4, 4]}),
        ("modernbert", {"local_attention": 8}),
        ("mistral", {"sliding_window": 4}),
        ("gemma2", {"attn_logit_softcapping": 20.0}),
        ("gemma2", {"final_logit_softcapping": None}),
        ("gemma2", {"query_pre_attn_scalar": 128}),
        ("gemma3_text", {"use_bidirectional_attention": True}),
        ("gemma3_text", {"layer_types": ["full_attention"] * 5}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": False}),
        ("gpt2", {"layer_norm_epsilon": 1e-6}),
    ],
    ids=str,
)
def test_another_computation_has_another_digest(tmp_path: Path, family: str, changes: dict) -> None:
    assert digest_of(tmp_path / "a", family) != digest_of(tmp_path / "b", family, **changes)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_what_does_not_change_a_hidden_state_does_not_count(tmp_path: Path, family: str) -> None:
    first = digest_of(tmp_path, family)
    edit_config(
        tmp_path,
        transformers_version="4.30.0",
        torch_dtype="float16",
        dtype=None,
        architectures=["Other"],
        use_cache=False,
        position_embedding_type="absolute",
        id2label={"0": "a"},
        initializer_range=0.5,
        **PUBLISHED_DROPOUT[family],
    )
    assert config_digest(tmp_path) == first


def test_the_same_model_in_the_form_of_an_older_version_has_the_same_digest(tmp_path: Path) -> None:
    first = digest_of(tmp_path, "llama", rope_parameters=ROTARY | {"rope_type": "linear", "factor": 2.0})
    edit_config(tmp_path, rope_parameters=None, rope_theta=500, rope_scaling={"type": "linear", "factor": 2})
    assert config_digest(tmp_path) == first
    # a default written out, or left out
    edit_config(tmp_path, attention_bias=None, hidden_act="silu", rms_norm_eps=0.000001)
    assert config_digest(tmp_path) == first


def test_what_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        config_digest(tmp_path)
