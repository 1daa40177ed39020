"""A recommender from the configuration: backbone, adapter, text settings. The same call on every machine."""

from __future__ import annotations

from torch import nn

from common.adapters.lora import LoraSettings, add_lora, train_fully
from common.config import ModelConfig
from common.cut import Cut, client_side
from common.low_rank import Adapter
from common.models import load_encoder, load_tokenizer, resolve
from common.recommenders.embeddings import NAMES, add_item_structure
from common.recommenders.encoder import EncoderRecommender, EncoderSettings
from common.recommenders.state import trained_state
from common.seeds import derive


def build(model: ModelConfig, seed: int, cut: Cut | None = None) -> EncoderRecommender:
    """The recommender with its untrained adapter, in evaluation mode; everyone who gives the same seed gets the same.

    With a ``cut`` it is the client's side: the middle layers are neither read nor allocated, and their place is taken by
    a slot that ``common.cut.set_trunk`` fills. Its trained tensors have the names and the start of the whole model's.
    A frozen base has no dropout of its own: there is nothing in it to regularise, and hosted layers draw none.

    Raises
    ------
    ModelError : the model cannot be found, loaded, cut or adapted.
    ConfigError : the text settings do not fit the model.
    """
    folder = resolve(model.name)
    backbone, also = load_encoder(folder) if cut is None else _without_pooler(client_side(folder, cut)), ()
    if model.positions == "recformer":
        backbone, also = add_item_structure(backbone, model.history), NAMES
    if model.adapter == "lora":
        for module in backbone.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
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


def origin(model: ModelConfig, seed: int) -> Adapter:
    """The untrained adapter of the whole model, P_0: what everybody starts from."""
    return trained_state(build(model, seed))


def _without_pooler(backbone: nn.Module) -> nn.Module:
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None
    return backbone
