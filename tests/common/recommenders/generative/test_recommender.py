from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from common.adapters.lora import LoraSettings, add_lora
from common.cut import Cut, client_side, server_side
from common.errors import ConfigError
from common.recommenders.generative.recommender import GenerativeRecommender, TitleIndex
from common.recommenders.generative.settings import GenerativeSettings
from common.recommenders.state import load_trained, trained_state
from tests.common.recommenders.causal import TITLES, byte_level, gpt2, llama, metaspace

TOKENIZERS = {"byte-level": byte_level(), "metaspace": metaspace()}
MODELS = {"llama": (llama, "q_proj,v_proj"), "gpt2": (gpt2, "c_attn")}
HISTORIES = [[0, 3, 4], [12], [1, 2, 5, 6, 7]]
TARGETS = [7, 5, 13]


class Shop:
    items = [{"title": title} for title in TITLES]


def recommender(
    model: str = "llama", tokenizer: str = "byte-level", seed: int = 0, trained: bool = True, **more: object
) -> tuple[GenerativeRecommender, TitleIndex]:
    """With an adapter that is not zero."""
    words, (make, targets) = TOKENIZERS[tokenizer], MODELS[model]
    backbone = add_lora(make(len(words), seed), LoraSettings(rank=2, dropout=0.0, targets=targets), seed)
    if trained:
        with torch.no_grad():
            for name, parameter in backbone.named_parameters():
                if ".lora_B." in name:
                    parameter.normal_(generator=torch.Generator().manual_seed(seed))
    chosen = GenerativeSettings(
        **{"instruction": "Name a game", "history": 3, "max_tokens": 256, "title_tokens": 24} | more
    )
    made = GenerativeRecommender(backbone, words, chosen).eval()
    return made, made.catalogue_index(Shop)


@settings(max_examples=12, deadline=None)
@given(
    model=st.sampled_from(sorted(MODELS)),
    tokenizer=st.sampled_from(sorted(TOKENIZERS)),
    seed=st.integers(0, 999),
    beams=st.sampled_from([1, 2, 5, 20]),
    repeats=st.booleans(),
)
def test_beams_are_titles_with_their_exact_log_likelihoods(
    model: str, tokenizer: str, seed: int, beams: int, repeats: bool
) -> None:
    made, index = recommender(model, tokenizer, seed, beams=beams, grounding="trie", repeats=repeats)
    scores = made.scores(HISTORIES, index, None)
    assert scores.shape == (len(HISTORIES), len(TITLES))
    for row, history in zip(scores, HISTORIES, strict=True):
        reached = row.isfinite().nonzero().ravel().tolist()
        likely = made.log_likelihoods([history] * len(reached), [np.array([item]) for item in reached], index)
        np.testing.assert_allclose(row[reached].double().numpy(), likely, atol=1e-4)
        assert row[1] == row[9]  # the same title
        barred = {TITLES[item] for item in history} if not repeats else set()
        # "Halo" stays open while one of its two items was not met
        barred -= {"Halo"}
        assert not barred & {TITLES[item] for item in reached}
        assert len({TITLES[item] for item in reached}) == min(beams, len(set(TITLES) - barred))


def test_one_beam_takes_the_likeliest_token_of_the_trie_at_each_step() -> None:
    made, index = recommender(beams=1, repeats=True)
    scores = made.scores(HISTORIES, index, None, grounding="trie")
    for row, history in zip(scores, HISTORIES, strict=True):
        prefix: list[int] = []
        (prompt,) = made.prompts.encode([history], index.titles).input_ids.tolist()
        while not prefix or prefix[-1] != made.prompts.eos:
            with torch.no_grad():
                logits = made.backbone(input_ids=torch.tensor([prompt + prefix])).logits[0, -1]
            prefix.append(max(index.trie.allowed(prefix), key=lambda token: logits[token].item()))
        assert set(row.isfinite().nonzero().ravel().tolist()) == set(index.trie.items(prefix[: -len(made.prompts.end)]))


def test_many_users_are_decoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made, index = recommender(beams=3)
    whole, texts = made.scores(HISTORIES, index, None, grounding="trie"), made.generate(HISTORIES, index)
    monkeypatch.setattr("common.recommenders.generative.recommender.ROWS", 3)
    torch.testing.assert_close(made.scores(HISTORIES, index, None, grounding="trie"), whole)
    assert made.generate(HISTORIES, index) == texts


def by_hand(made: GenerativeRecommender, index: TitleIndex, history: list[int], target: int) -> torch.Tensor:
    """Log-likelihoods of the answer's tokens, from unpadded ids and all logits."""
    (prompt,) = made.prompts.encode([history], index.titles).input_ids.tolist()
    answer = [*index.titles[target], *made.prompts.end]
    logits = made.backbone(input_ids=torch.tensor([prompt + answer])).logits[0]
    logs = functional.log_softmax(logits.double(), -1)
    return torch.stack([logs[len(prompt) + place - 1, token] for place, token in enumerate(answer)])


@pytest.mark.parametrize("model", MODELS)
def test_the_loss_is_the_mean_over_examples_of_their_mean_token_loss(model: str) -> None:
    made, index = recommender(model)
    expected = -torch.stack([by_hand(made, index, h, t).mean() for h, t in zip(HISTORIES, TARGETS, strict=True)]).mean()
    assert made.loss(HISTORIES, TARGETS, index).item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_batch_s_loss_is_the_weighted_mean_of_its_parts() -> None:
    for loss_on in ("answer", "all"):
        made, index = recommender(loss_on=loss_on)
        whole = made.loss(HISTORIES, TARGETS, index)
        parts = made.loss(HISTORIES[:1], TARGETS[:1], index) / 3 + made.loss(HISTORIES[1:], TARGETS[1:], index) * 2 / 3
        torch.testing.assert_close(whole, parts)


def test_all_tokens_but_the_first_are_learnt_where_asked_for() -> None:
    made, index = recommender(loss_on="all")
    (ids,) = made.prompts.with_answers([[12]], [5], index.titles).input_ids.tolist()
    logs = functional.log_softmax(made.backbone(input_ids=torch.tensor([ids])).logits[0].double(), -1)
    expected = -logs[:-1].gather(1, torch.tensor(ids[1:]).unsqueeze(1)).mean()
    assert made.loss([[12]], [5], index).item() == pytest.approx(expected.item(), abs=1e-5)


def test_log_likelihoods_are_sums_over_the_answer_and_means_over_targets() -> None:
    made, index = recommender()
    found = made.log_likelihoods(HISTORIES, [np.array([7, 0]), np.array([5]), np.array([13, 8, 9])], index)
    sums = [
        [by_hand(made, index, h, t).sum().item() for t in ts]
        for h, ts in zip(HISTORIES, [[7, 0], [5], [13, 8, 9]], strict=True)
    ]
    np.testing.assert_allclose(found, [np.mean(values) for values in sums], atol=1e-4)
    assert found.dtype == np.float64


def test_only_the_adapter_gets_gradients_and_it_learns_a_title() -> None:
    made, index = recommender(trained=False)
    trained = [parameter for parameter in made.parameters() if parameter.requires_grad]
    assert {name.rsplit(".", 2)[-2] for name in trained_state(made)} == {"lora_A", "lora_B"}
    optimiser = torch.optim.Adam(trained, lr=0.05)
    before = made.log_likelihoods([[0]], [np.array([7])], index)
    for _ in range(12):
        optimiser.zero_grad()
        made.loss([[0]], [7], index).backward()
        optimiser.step()
    assert made.log_likelihoods([[0]], [np.array([7])], index) > before + 5
    assert all(parameter.grad is None for parameter in made.parameters() if not parameter.requires_grad)


@pytest.mark.parametrize("model", MODELS)
def test_titles_are_embedded_by_the_base_model_whatever_the_adapter(model: str) -> None:
    made, index = recommender(model)
    base = MODELS[model][0](len(made.tokenizer)).base_model
    with torch.no_grad():
        expected = [base(input_ids=torch.tensor([index.titles[i]])).last_hidden_state[0, -1] for i in range(len(index))]
    for batch in (1, 4, 64):
        torch.testing.assert_close(made.encode_items(index, batch), torch.stack(expected), atol=1e-5, rtol=1e-5)
    assert not made.items_are_trained
    assert all(p.requires_grad == (".lora_" in name) for name, p in made.backbone.named_parameters())
    load_trained(made, trained_state(recommender(model, seed=3)[0]))
    torch.testing.assert_close(made.encode_items(index), torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_the_mean_over_tokens_does_not_see_the_padding() -> None:
    made, index = recommender(embedding="mean")
    together = made.encode_items(index, batch=len(TITLES))
    torch.testing.assert_close(together, made.encode_items(index, batch=1), rtol=1e-5, atol=1e-6)
    last, _ = recommender(embedding="last")
    assert not torch.allclose(together, last.encode_items(index))


def test_what_embeds_is_entered_for_embedding_only() -> None:
    made, index = recommender()
    entered = []

    @contextmanager
    def base() -> Iterator[None]:
        entered.append("in")
        yield
        entered.append("out")

    made.base_context = base
    made.loss(HISTORIES, TARGETS, index)
    made.generate(HISTORIES, index)
    made.scores(HISTORIES, index, None, grounding="trie")
    assert entered == []
    matrix = made.encode_items(index)
    made.scores(HISTORIES, index, matrix, grounding="distance")
    assert entered == ["in", "out"] * 2


def test_a_generated_title_lies_nearest_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    made, index = recommender()
    matrix = made.encode_items(index)
    monkeypatch.setattr(made, "generate", lambda histories, index: ["Halo", "Tetris!", ""])
    scores = made.scores(HISTORIES, index, matrix)
    assert scores[0, 1] == scores[0, 9] == scores[0].max()
    assert scores[1].argmax() == TITLES.index("Tetris!")
    torch.testing.assert_close(scores.max(1).values[:2], torch.zeros(2), atol=1e-4, rtol=0)
    assert scores.isfinite().all()


def test_greedy_text_is_the_likeliest_token_after_another() -> None:
    made, index = recommender(beams=1, max_new_tokens=6)
    texts = made.generate(HISTORIES, index)
    for text, history in zip(texts, HISTORIES, strict=True):
        ids = made.prompts.encode([history], index.titles).input_ids[0].tolist()
        start = len(ids)
        for _ in range(6):
            with torch.no_grad():
                ids.append(int(made.backbone(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert text == made.prompts.decode(ids[start:])


def test_a_model_that_learnt_a_title_writes_it_with_either_way_of_grounding() -> None:
    made, index = recommender(trained=False, beams=4)
    made.backbone.requires_grad_(True)
    optimiser = torch.optim.Adam(made.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        made.loss(HISTORIES, TARGETS, index).backward()
        optimiser.step()
    assert (
        made.generate(HISTORIES, index) == [TITLES[target] for target in TARGETS] == [index.texts[t] for t in TARGETS]
    )
    matrix = made.encode_items(index)
    for way in ("distance", "trie"):
        assert made.scores(HISTORIES, index, matrix, grounding=way).argmax(1).tolist() == TARGETS


def test_in_bfloat16_losses_and_scores_are_float32_and_near() -> None:
    made, index = recommender(beams=4)
    exact, likely = made.loss(HISTORIES, TARGETS, index), made.scores(HISTORIES, index, None, grounding="trie")
    made.backbone.bfloat16()
    loss, scores = made.loss(HISTORIES, TARGETS, index), made.scores(HISTORIES, index, None, grounding="trie")
    assert loss.dtype == scores.dtype == made.encode_items(index).dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
    both = scores.isfinite() & likely.isfinite()
    torch.testing.assert_close(scores[both], likely[both], rtol=0.1, atol=0.5)


def test_gradient_mode_and_training_mode_are_left_as_they_were() -> None:
    made, index = recommender(beams=2)
    made.train()
    made.scores(HISTORIES, index, made.encode_items(index))
    made.scores(HISTORIES, index, None, grounding="trie")
    made.log_likelihoods(HISTORIES, [np.array([t]) for t in TARGETS], index)
    assert made.training and made.backbone.training
    assert torch.is_grad_enabled()


def test_a_cut_model_scores_as_the_whole_one(tmp_path: Path) -> None:
    whole, index = recommender(beams=4, trained=False)
    llama(len(whole.tokenizer)).save_pretrained(tmp_path)
    cut = Cut(1, 0)
    side = client_side(tmp_path, cut, server_side(tmp_path, cut), causal=True)
    made = GenerativeRecommender(side, whole.tokenizer, whole.settings).eval()
    for way in ("distance", "trie"):
        matrix = whole.encode_items(index)
        torch.testing.assert_close(made.encode_items(index), matrix)
        torch.testing.assert_close(
            made.scores(HISTORIES, index, matrix, grounding=way), whole.scores(HISTORIES, index, matrix, grounding=way)
        )
    torch.testing.assert_close(made.loss(HISTORIES, TARGETS, index), whole.loss(HISTORIES, TARGETS, index))


def test_bad_settings_are_refused() -> None:
    for bad in ({"beams": 0}, {"grounding": "guess"}, {"loss_on": "nothing"}, {"max_new_tokens": -1}, {"history": 0}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            GenerativeSettings(**bad)
    with pytest.raises(ConfigError, match="the model reads 128"):
        GenerativeRecommender(llama(300, positions=128), byte_level(), GenerativeSettings())
    made, index = recommender()
    with pytest.raises(ConfigError, match="items is None"):
        made.scores(HISTORIES, index, None)
