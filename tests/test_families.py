"""Every causal family of the cut trains and generates as a recommender, whole and cut, from one file and from shards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.config import from_flat
from common.cut import Cut, server_side, set_trunk
from common.recommenders.build import build
from tests.common.cut.tiny import CAUSAL, save_tiny
from tests.common.recommenders import causal
from tests.federation import tiny_dataset


def saved(family: str, sharded: bool, folder: Path) -> Path:
    tokenizer = causal.byte_level()
    longer = {"n_positions" if family == "gpt2" else "max_position_embeddings": 256}
    save_tiny(family, folder, True, "10KB" if sharded else "5GB", vocab_size=len(tokenizer), **longer)
    tokenizer.save_pretrained(folder)
    assert (folder / "model.safetensors.index.json").is_file() == sharded
    return folder


@pytest.mark.parametrize("sharded", [False, True], ids=["whole file", "shards"])
@pytest.mark.parametrize("family", CAUSAL)
def test_a_family_trains_and_generates(family: str, sharded: bool, tmp_path: Path) -> None:
    folder = saved(family, sharded, tmp_path / "model")
    config = from_flat({
        "model.recommender": "generative", "model.name": str(folder), "model.max-tokens": 160, "model.item-tokens": 8,
        "model.lora-targets": "c_attn" if family == "gpt2" else "q_proj,v_proj",
        "generate.instruction": "Go.", "generate.beams": 3, "generate.grounding": "trie", "split.on": False,
    })  # fmt: skip
    catalogue = tiny_dataset("toy").catalogue
    histories, targets = [[0, 1], [4], [2, 3]], [2, 5, 7]
    found = []
    for cut in (None, Cut(1, 1)):
        recommender = build(config.model, 0, cut, config.generate)
        if cut:
            set_trunk(recommender.backbone, server_side(folder, cut))
        index = recommender.catalogue_index(catalogue)
        items = recommender.encode_items(index)
        recommender.train()
        loss = recommender.loss(histories, targets, index)
        loss.backward()
        moved = [p.grad.abs().sum() for n, p in recommender.named_parameters() if "lora_B" in n]
        assert moved and all(moved)
        recommender.eval()
        texts = recommender.generate(histories, index)
        scores = recommender.scores(histories, index, items)
        assert (scores.isfinite().sum(1) == 3).all()
        found.append((loss.detach(), items, texts, scores))
    (loss, items, texts, scores), (cut_loss, cut_items, cut_texts, cut_scores) = found
    # adapters of the middle layers are zero at the start and not wrapped here, so the whole model's kernels may differ
    torch.testing.assert_close(cut_loss, loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cut_items, items, rtol=1e-5, atol=1e-5)
    assert cut_texts == texts
    torch.testing.assert_close(cut_scores, scores, rtol=1e-5, atol=1e-4)
