"""A recommender from the configuration: backbone, adapter, text settings. The same call on every machine."""

from __future__ import annotations

from common.adapters.lora import LoraSettings, add_lora, train_fully
from common.config import ModelConfig
from common.models import load_encoder, load_tokenizer, resolve
from common.recommenders.embeddings import NAMES, add_item_structure
from common.recommenders.encoder import EncoderRecommender, EncoderSettings
from common.seeds import derive


def build(model: ModelConfig, seed: int) -> EncoderRecommender:
    """The recommender with its untrained adapter, in evaluation mode; everyone who gives the same seed gets the same.

    Raises
    ------
    ModelError : the model cannot be found, loaded or adapted.
    ConfigError : the text settings do not fit the model.
    """
    folder = resolve(model.name)
    backbone, also = load_encoder(folder), ()
    if model.positions == "recformer":
        backbone, also = add_item_structure(backbone, model.history), NAMES
    if model.adapter == "lora":
        lora = LoraSettings(model.lora_rank, model.lora_alpha, model.lora_dropout, model.lora_targets)
        backbone = add_lora(backbone, lora, derive(seed, "adapter"), also)
    else:
        backbone = train_fully(backbone)
    settings = EncoderSettings(
        history=model.history,
        max_tokens=model.max_tokens,
        item_tokens=model.item_tokens,
        temperature=model.temperature,
        pooling=model.pooling,
        recency=model.recency,
        projection=model.projection,
    )
    return EncoderRecommender(backbone, load_tokenizer(folder), settings).eval()
