from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from common.adapters.lora import LoraSettings, add_lora, load_trainable, trainable_state
from common.errors import ModelError
from common.recommenders.encoder.embeddings import NAMES, ItemStructure, add_item_structure, token_codes
from common.recommenders.encoder.recommender import EncoderRecommender, EncoderSettings
from common.recommenders.encoder.text import Sequences
from tests.common.recommenders.tiny import bert, longformer, tokenizer

SETTINGS = EncoderSettings(history=4, max_tokens=32, item_tokens=8)
MODELS = {"bert": bert, "longformer": longformer}


class Shop:
    items = [{"title": "red fox", "category": "bear"}, {"title": "blue owl"}, {"title": "green"}]


@pytest.fixture(params=MODELS)
def backbone(request: pytest.FixtureRequest) -> PreTrainedModel:
    return MODELS[request.param]()


def structured(backbone: PreTrainedModel) -> EncoderRecommender:
    model = add_lora(add_item_structure(backbone, 4), LoraSettings(rank=2, targets="query,value"), 0, also=NAMES)
    return EncoderRecommender(model, tokenizer(), SETTINGS).eval()


def test_with_the_new_tables_at_zero_the_encoder_is_what_it_was(backbone: PreTrainedModel) -> None:
    plain = EncoderRecommender(backbone, tokenizer(), SETTINGS).eval()
    texts = plain.catalogue_index(Shop)
    with torch.no_grad():
        before = plain.encode_users([[0, 1], [2]], texts)
        after = structured(backbone).encode_users([[0, 1], [2]], texts)
    torch.testing.assert_close(after, before)


def test_an_embedding_is_the_normalised_sum_of_word_position_kind_and_item() -> None:
    backbone = add_item_structure(bert(), 4)
    table = backbone.embeddings.token_type_embeddings
    assert isinstance(table, ItemStructure)
    with torch.no_grad():
        nn.init.normal_(table.kind.weight)
        nn.init.normal_(table.item_position.weight)
        ids, kinds, items = torch.tensor([[1, 5, 8]]), torch.tensor([[0, 1, 2]]), torch.tensor([[0, 1, 4]])
        codes = token_codes(Sequences(ids, torch.ones_like(ids), kinds, items))
        embeddings = backbone.embeddings(input_ids=ids, token_type_ids=codes)
        total = backbone.embeddings.word_embeddings(ids) + backbone.embeddings.position_embeddings(torch.arange(3))
        total = total + table.base.weight[0] + table.kind(kinds) + table.item_position(items)
        torch.testing.assert_close(embeddings, backbone.embeddings.LayerNorm(total))


def test_the_new_tables_are_trained_named_and_part_of_the_state(backbone: PreTrainedModel) -> None:
    recommender = structured(backbone)
    texts = recommender.catalogue_index(Shop)
    matrix = recommender.encode_items(texts)
    recommender.loss([[0, 1], [2]], [2, 0], texts, matrix).backward()
    moved = {
        name for name, p in recommender.backbone.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    }
    state = trainable_state(recommender.backbone)
    for name in NAMES:
        assert any(f".{name}." in parameter for parameter in moved)
        assert any(parameter.endswith(f".{name}.weight") for parameter in state)
    changed = {name: tensor + 1 for name, tensor in state.items()}
    load_trainable(recommender.backbone, changed)
    for name, tensor in trainable_state(recommender.backbone).items():
        torch.testing.assert_close(tensor, changed[name])


def test_the_order_of_items_and_their_kinds_change_the_vector(backbone: PreTrainedModel) -> None:
    recommender = structured(backbone)
    texts = recommender.catalogue_index(Shop)
    with torch.no_grad():
        before = recommender.encode_users([[0, 1]], texts)
        for name in NAMES:
            state = trainable_state(recommender.backbone)
            chosen = next(key for key in state if key.endswith(f".{name}.weight"))
            load_trainable(recommender.backbone, state | {chosen: torch.eye(*state[chosen].shape)})
            after = recommender.encode_users([[0, 1]], texts)
            assert (after - before).abs().max() > 1e-4
            before = after


def test_a_backbone_without_token_types_is_refused() -> None:
    backbone = bert()
    del backbone.embeddings.token_type_embeddings
    with pytest.raises(ModelError, match="'bert' has no token-type embeddings"):
        add_item_structure(backbone, 4)
