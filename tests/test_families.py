"""Every family of the cut as a recommender: cut it trains as the whole model does, to the bit, and the causal ones
generate, from one file and from shards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_app.link import SplitLink
from client_app.link_settings import LinkSettings
from client_app.trunk import RemoteTrunk
from common.config import GenerateConfig, from_flat
from common.cut import FAMILIES, Cut, read_config, server_side, set_trunk, whole_name
from common.models import DTYPES
from common.recommenders.build import build
from common.recommenders.recommender import Recommender
from common.recommenders.state import trained_state
from server_app.split.host import SplitHost
from server_app.split.settings import HostedLora, HostSettings
from tests.common.cut.tiny import CAUSAL, PUBLISHED_DROPOUT, save_tiny
from tests.common.recommenders import causal
from tests.federation import tiny_dataset


def saved(family: str, sharded: bool, folder: Path, words: bool = True, **changes: object) -> Path:
    tokenizer = causal.byte_level()
    longer = {"n_positions" if family == "gpt2" else "max_position_embeddings": 256}
    shard = "10KB" if sharded else "5GB"
    save_tiny(family, folder, words, shard, vocab_size=len(tokenizer), **longer, **changes)
    tokenizer.save_pretrained(folder)
    assert (folder / "model.safetensors.index.json").is_file() == sharded
    return folder


@pytest.mark.parametrize("sharded", [False, True], ids=["whole file", "shards"])
@pytest.mark.parametrize("family", CAUSAL)
def test_a_family_trains_and_generates(family: str, sharded: bool, tmp_path: Path) -> None:
    folder = saved(family, sharded, tmp_path / "model")
    config = from_flat(
        {
            "model.recommender": "generative",
            "model.name": str(folder),
            "model.max-tokens": 160,
            "model.item-tokens": 8,
            "model.lora-targets": "c_attn" if family == "gpt2" else "q_proj,v_proj",
            "generate.instruction": "Go.",
            "generate.beams": 3,
            "generate.grounding": "trie",
            "split.on": False,
        }
    )
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


TARGETS = {"gpt2": "c_attn", "modernbert": "Wqkv"}
GENERATE = GenerateConfig(instruction="Go.")
SIDES = [(family, "encoder") for family in sorted(FAMILIES)] + [(family, "generative") for family in CAUSAL]


@pytest.mark.parametrize("frugal", [False, True], ids=["fp32", "bf16 and checkpointing"])
@pytest.mark.parametrize(("family", "kind"), SIDES)
def test_training_mode_with_published_dropout_is_that_of_the_whole_model(
    family: str, kind: str, frugal: bool, tmp_path: Path
) -> None:
    folder = saved(family, False, tmp_path / "model", kind == "generative", **PUBLISHED_DROPOUT[family])
    targets = TARGETS.get(family, "q_proj,v_proj" if family in CAUSAL else "query,value")
    model = from_flat(
        {
            "model.recommender": kind,
            "model.name": str(folder),
            "model.max-tokens": 96,
            "model.item-tokens": 8,
            "model.lora-targets": targets,
            "model.lora-rank": 2,
            "split.on": False,
            "model.checkpointing": frugal,
            "model.dtype": "bf16" if frugal else "fp32",
        }
    ).model
    cut, config, rate = Cut(1, 1), read_config(folder), 0.01
    catalogue = tiny_dataset("toy").catalogue
    whole = build(model, 0, generate=GENERATE)
    settings = HostSettings("test", "", cut.k, cut.m, config.hidden_size, HostedLora(tuple(targets.split(",")), 2))
    host = SplitHost(
        server_side(folder, cut, DTYPES[model.dtype]),
        settings,
        tmp_path / "state",
        whole_name=lambda path: whole_name(path, "server", cut, config, kind == "generative"),
    )
    started = trained_state(whole)
    side = build(model, 0, cut, GENERATE)
    hosted = {name: started[name] for name in started.keys() - trained_state(side).keys()}
    try:
        address = host.start()
        host.load_adapter("ann", hosted)
        host.begin("ann", 1, rate, adapter_seed=0, fresh_optimiser=True)
        with SplitLink(address, host.mint("ann", 60), LinkSettings("", cut.k, cut.m, config.hidden_size)) as link:
            trunk = RemoteTrunk(link)
            set_trunk(side.backbone, trunk)
            index = whole.catalogue_index(catalogue)
            items = whole.encode_items(index)
            trunk.eval()
            assert torch.equal(side.encode_items(index), items)
            trunk.train()
            optimisers = [torch.optim.AdamW(trained(one), lr=rate) for one in (whole.train(), side.train())]
            for step in range(20):
                histories, targets = [[step % 9, (step + 1) % 9], [(step + 4) % 9]], [(step + 2) % 9, (step + 5) % 9]
                losses = [one.loss(histories, targets, index, items) for one in (whole, side)]
                assert torch.equal(*losses), step
                for loss, optimiser in zip(losses, optimisers, strict=True):
                    loss.backward()
                    optimiser.step()
                    optimiser.zero_grad()
                link.step(rate)
        host.commit("ann", 1)
        ended, found = trained_state(whole), trained_state(side) | host.adapter("ann")
    finally:
        host.stop(0)
    assert found.keys() == ended.keys() and hosted
    assert all(torch.equal(found[name], ended[name]) for name in ended)
    for part in (hosted, started.keys() - hosted.keys()):
        assert any(not torch.equal(ended[name], started[name]) for name in part)


def trained(recommender: Recommender) -> list[torch.nn.Parameter]:
    return [parameter for parameter in recommender.parameters() if parameter.requires_grad]
