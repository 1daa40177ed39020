"""common/recommenders/build.py: the untrained adapter follows from shapes and the seed, and what cannot work is
refused before weights are read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from common.config import ModelConfig, RunConfig, SplitConfig
from common.cut import Cut
from common.errors import ConfigError, ModelError
from common.recommenders import build as module
from common.recommenders.build import build, check, origin
from common.recommenders.state import trained_state
from tests.common.cut.tiny import save_tiny
from tests.common.recommenders import causal, tiny
from tests.federation import tiny_causal_model, tiny_model


@pytest.mark.parametrize(
    "changes",
    [{}, {"projection": False}, {"positions": "recformer"}, {"lora_targets": "query,dense"}, {"adapter": "full"}],
    ids=str,
)
def test_the_origin_is_what_a_client_starts_from(tmp_path: Path, changes: dict) -> None:
    model = ModelConfig(name=str(tiny_model(tmp_path)), history=4, max_tokens=48, item_tokens=8, lora_rank=2, **changes)
    expected, found = trained_state(build(model, 3)), origin(model, 3)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (
        any(not torch.equal(found[name], origin(model, 4)[name]) for name in found) or changes.get("adapter") == "full"
    )


def test_no_weight_is_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_model(tmp_path)
    (folder / "model.safetensors").write_bytes(b"not to be opened")
    monkeypatch.setattr(module, "load_encoder", lambda folder: pytest.fail("weights were read"))
    assert origin(ModelConfig(name=str(folder), max_tokens=48, item_tokens=8), 0)


def test_the_clients_side_starts_with_its_part_of_the_origin(tmp_path: Path) -> None:
    model = ModelConfig(name=str(tiny_model(tmp_path)), history=4, max_tokens=48, item_tokens=8)
    whole, side = origin(model, 3), trained_state(build(model, 3, Cut(1, 1)))
    assert side.keys() < whole.keys() and all(torch.equal(side[name], whole[name]) for name in side)


def bidirectional(folder: Path, kind: str = "bert", **changes: object) -> Path:
    config = AutoConfig.for_model(kind, **tiny.SHAPE | {"num_hidden_layers": 4} | changes)
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("cut", [None, Cut(1, 1)], ids=str)
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_masked_language_model_cannot_be_asked_for_words(tmp_path: Path, kind: str, cut: Cut | None) -> None:
    model = ModelConfig(recommender="generative", name=str(bidirectional(tmp_path, kind)), max_tokens=60, item_tokens=4)
    config = RunConfig(model=model, split=SplitConfig(on=cut is not None))
    for make in (lambda: build(model, 0, cut), lambda: check(config), lambda: origin(model, 0)):
        with pytest.raises(ModelError, match=f"'{kind}' has no causal head"):
            make()


def test_gemma_of_both_directions_cannot_be_asked_for_words(tmp_path: Path) -> None:
    folder = save_tiny("gemma3_text", tmp_path, True, use_bidirectional_attention=True)
    causal.byte_level(vocabulary=61).save_pretrained(folder)
    model = ModelConfig(recommender="generative", name=str(folder), max_tokens=60, item_tokens=4)
    for make in (lambda: build(model, 0), lambda: build(model, 0, Cut(1, 1)), lambda: origin(model, 0)):
        with pytest.raises(ModelError, match="use_bidirectional_attention"):
            make()


@pytest.mark.parametrize(
    ("kind", "recommender", "targets"),
    [
        ("distilbert", "encoder", "q_lin"),
        ("electra", "encoder", "query"),
        ("gpt_neox", "generative", "query_key_value"),
    ],
)
def test_without_the_split_other_architectures_start_alike_too(
    tmp_path: Path, kind: str, recommender: str, targets: str
) -> None:
    words = recommender == "generative"
    tokenizer = causal.byte_level() if words else tiny.tokenizer()
    shape = tiny.SHAPE | {"vocab_size": len(tokenizer), "max_position_embeddings": 512}
    if kind == "distilbert":
        shape |= {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 32}
    maker = AutoModelForCausalLM if words else AutoModel
    maker.from_config(AutoConfig.for_model(kind, **shape)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = ModelConfig(
        recommender=recommender, name=str(tmp_path), max_tokens=300, item_tokens=8, lora_rank=2, lora_targets=targets
    )
    expected, found = trained_state(build(model, 3)), origin(model, 3)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_tokenizer_of_one_id_more_is_refused_before_any_weight_is_read(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path)
    longer = tiny.tokenizer()
    longer.add_special_tokens({"pad_token": "<other pad>"})
    longer.save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"not to be opened")
    model = ModelConfig(name=str(folder), max_tokens=48, item_tokens=8)
    with pytest.raises(ModelError, match=f"'<other pad>' the id {len(tiny.WORDS)}, .* has {len(tiny.WORDS)} rows"):
        origin(model, 0)


@pytest.mark.parametrize(
    ("recommender", "changes", "said"),
    [
        ("generative", {"max_tokens": 60, "item_tokens": 8}, "'model.max-tokens' = 60, .*'generate.instruction'"),
        ("generative", {"max_tokens": 800, "item_tokens": 8}, "'model.max-tokens' = 800: .*reads 512 at most"),
        ("encoder", {"max_tokens": 800}, "'model.max-tokens' = 800, .*reads 512 at most"),
        ("encoder", {"pooling": "first"}, "'model.pooling' = 'first' .*'llama'"),
    ],
)
def test_a_prompt_that_does_not_fit_is_told_in_the_settings_names_and_without_weights(
    tmp_path: Path, recommender: str, changes: dict, said: str
) -> None:
    folder = tiny_causal_model(tmp_path)
    (folder / "model.safetensors").write_bytes(b"not to be opened")
    model = ModelConfig(recommender=recommender, name=str(folder), **{"max_tokens": 400, "lora_rank": 2} | changes)
    with pytest.raises(ConfigError, match=said):
        check(RunConfig(model=model))


def test_a_check_refuses_a_cut_that_the_model_does_not_have(tmp_path: Path) -> None:
    model = ModelConfig(name=str(tiny_model(tmp_path)), max_tokens=48, item_tokens=8)
    check(RunConfig(model=model, split=SplitConfig(k=1)))
    with pytest.raises(ModelError, match="nearest cut"):
        check(RunConfig(model=model, split=SplitConfig(k=3)))
