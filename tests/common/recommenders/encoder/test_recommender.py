from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from common.adapters.lora import LoraSettings, add_lora
from common.errors import ConfigError
from common.recommenders.encoder.recommender import EncoderRecommender, EncoderSettings
from common.recommenders.encoder.text import ItemTexts, compose
from common.recommenders.recommender import flops_per_step
from tests.common.recommenders.tiny import SHAPE, bert, longformer, tokenizer

COLOURS, ANIMALS = ("red", "blue", "green", "long"), ("fox", "bear", "owl")


class Shop:
    items = [{"title": f"{colour} {animal}"} for colour in COLOURS for animal in ANIMALS] + [
        {"title": "fox", "category": "red"}
    ]


HISTORIES, TARGETS = [[0, 1], [2], [5, 4, 3]], [2, 0, 4]  # the last target was met before


def recommender(**settings: object) -> EncoderRecommender:
    model = add_lora(bert(), LoraSettings(rank=2, targets="query,value"), seed=0)
    return EncoderRecommender(
        model, tokenizer(), EncoderSettings(**{"max_tokens": 32, "item_tokens": 8} | settings)
    ).eval()


def with_matrix(model: EncoderRecommender) -> tuple[ItemTexts, Tensor]:
    texts = model.catalogue_index(Shop)
    return texts, model.encode_items(texts, batch=4)


def test_the_item_matrix_holds_every_item_in_its_place_with_length_one_and_no_gradient() -> None:
    model = recommender()
    texts, matrix = with_matrix(model)
    one_by_one = torch.cat([model.encode_users([[item]], texts) for item in range(len(Shop.items))])
    torch.testing.assert_close(matrix, one_by_one.detach())
    torch.testing.assert_close(matrix.norm(dim=1), torch.ones(len(Shop.items)))
    assert not matrix.requires_grad
    assert one_by_one.requires_grad


def test_scores_are_cosines_over_the_temperature() -> None:
    model = recommender(temperature=0.1)
    texts, matrix = with_matrix(model)
    scores = model.scores(HISTORIES, texts, matrix)
    users = model.encode_users(HISTORIES, texts)
    for row in range(3):
        cosines = torch.nn.functional.cosine_similarity(users[row], matrix)
        torch.testing.assert_close(scores[row], cosines / 0.1)


def test_the_loss_is_the_mean_negative_log_likelihood_over_the_catalogue_without_the_history() -> None:
    model = recommender()
    texts, matrix = with_matrix(model)
    scores = model.scores(HISTORIES, texts, matrix).tolist()
    by_hand = [
        math.log(sum(math.exp(score) for item, score in enumerate(row) if item == target or item not in history))
        - row[target]
        for row, history, target in zip(scores, HISTORIES, TARGETS, strict=True)
    ]
    assert model.loss(HISTORIES, TARGETS, texts, matrix).item() == pytest.approx(sum(by_hand) / len(TARGETS), rel=1e-4)


def test_a_users_vector_does_not_depend_on_the_rest_of_the_batch() -> None:
    model = recommender()
    texts = model.catalogue_index(Shop)
    together = model.encode_users(HISTORIES, texts)
    alone = torch.cat([model.encode_users([history], texts) for history in HISTORIES])
    torch.testing.assert_close(together, alone)


def test_a_longformers_vector_does_not_depend_on_the_rest_of_the_batch_either() -> None:
    model = EncoderRecommender(longformer(), tokenizer(), EncoderSettings(max_tokens=32, item_tokens=8)).eval()
    assert model.pooling == "first"
    texts = model.catalogue_index(Shop)
    together = model.encode_users(HISTORIES, texts)
    alone = torch.cat([model.encode_users([history], texts) for history in HISTORIES])
    torch.testing.assert_close(together, alone)


def test_a_longformers_first_token_reads_past_its_window() -> None:
    model = EncoderRecommender(longformer(), tokenizer(), EncoderSettings(max_tokens=64, item_tokens=8)).eval()
    texts = model.catalogue_index(Shop)
    # two layers with windows of 4 reach 4 tokens; the oldest item here begins 28 tokens away
    vectors = model.encode_users([[0] + [1] * 7, [5] + [1] * 7], texts)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-5


def test_mean_pooling_leaves_padding_out_and_first_takes_the_first_token() -> None:
    for pooling in ("mean", "first"):
        model = recommender(pooling=pooling)
        texts = model.catalogue_index(Shop)
        ids = torch.tensor([[1, *texts.tokens[texts.offsets[2] : texts.offsets[3]].tolist(), 2]])
        hidden = model.backbone(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        pooled = hidden.mean(0) if pooling == "mean" else hidden[0]
        torch.testing.assert_close(model.encode_users([[2], [5, 4, 3]], texts)[0], pooled / pooled.norm())


def test_recency_weighs_the_tokens_of_older_items_less() -> None:
    plain, recent = recommender(), recommender(recency=0.5)
    texts = plain.catalogue_index(Shop)
    torch.testing.assert_close(recent.encode_users([[2]], texts), plain.encode_users([[2]], texts))
    batch = compose([[5, 4, 3]], texts, plain.special, 10, 32)
    hidden = recent.backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state[0]
    weights = torch.tensor([{0: 1.0, 1: 1.0, 2: 0.5, 3: 0.25}[item] for item in batch.items[0].tolist()])
    pooled = (hidden * weights[:, None]).sum(0)
    torch.testing.assert_close(recent.encode_users([[5, 4, 3]], texts)[0], pooled / pooled.norm())


def test_evaluation_is_free_of_dropout_and_so_are_items_while_training() -> None:
    # under adapters the base has none
    model = EncoderRecommender(bert(), tokenizer(), EncoderSettings(max_tokens=32, item_tokens=8)).eval()
    texts, matrix = with_matrix(model)
    torch.testing.assert_close(
        model.encode_users(HISTORIES, texts), model.encode_users(HISTORIES, texts), rtol=0, atol=0
    )
    model.train()
    torch.testing.assert_close(model.encode_items(texts, batch=4), matrix, rtol=0, atol=0)
    assert model.training
    assert (model.encode_users(HISTORIES, texts) - model.encode_users(HISTORIES, texts)).abs().max() > 1e-4


def test_a_few_steps_learn_a_rule_that_the_untrained_encoder_does_not_know() -> None:
    model = recommender(history=3)
    texts, matrix = with_matrix(model)
    histories = [[item] for item in range(12)]
    targets = [(item + 3) % 12 for item in range(12)]  # the same animal in the next colour
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=2e-2)
    before = model.loss(histories, targets, texts, matrix).item()
    for _ in range(60):
        optimiser.zero_grad()
        model.loss(histories, targets, texts, matrix).backward()
        optimiser.step()
    assert model.loss(histories, targets, texts, matrix).item() < before / 2


def test_flops_count_the_matrix_products_of_a_step_and_leave_no_gradient() -> None:
    model = recommender()
    texts, matrix = with_matrix(model)
    one = flops_per_step(model, [[0]], [1], texts, matrix)
    tokens, width, inner, layers = 6, SHAPE["hidden_size"], SHAPE["intermediate_size"], SHAPE["num_hidden_layers"]
    dense = 2 * tokens * layers * (4 * width * width + 2 * width * inner)  # the frozen layers, forward only
    assert 1.5 * dense < one < 3.5 * dense
    assert flops_per_step(model, [[0]] * 4, [1] * 4, texts, matrix) == pytest.approx(4 * one, rel=0.05)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"history": 0}, "history is 0"),
        ({"item_tokens": 0}, "item_tokens is 0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"pooling": "max"}, "pooling is 'max'"),
        ({"recency": 0.0}, "recency is 0.0"),
        ({"recency": 1.5}, "recency is 1.5"),
        ({"max_tokens": 9, "item_tokens": 8}, "'model.max-tokens' = 9, .*lower 'model.item-tokens'"),
        ({"max_tokens": 67}, "the model reads 66"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recommender(**settings)


def test_recency_is_not_passed_over_where_the_first_token_is_taken() -> None:
    settings = EncoderSettings(max_tokens=32, item_tokens=8, recency=0.5)
    with pytest.raises(ConfigError, match="'model.recency' = 0.5 weighs a mean.*'model.pooling' to 'mean'"):
        EncoderRecommender(longformer(), tokenizer(), settings)


def test_another_recommenders_index_and_a_missing_item_matrix_are_refused() -> None:
    model = recommender()
    texts, matrix = with_matrix(model)
    with pytest.raises(ConfigError, match="index is of type 'Shop', but this recommender reads 'ItemTexts'"):
        model.scores(HISTORIES, Shop(), matrix)
    with pytest.raises(ConfigError, match="items is None"):
        model.loss(HISTORIES, TARGETS, texts, None)


def test_a_model_without_a_folder_declares_no_pooling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    monkeypatch.chdir(tmp_path)
    assert recommender().pooling == "mean"
