"""A recommender from the configuration: backbone, adapter, text settings. The same call on every machine."""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoModel

from common.adapters.lora import LoraSettings, add_lora, initial_a, train_fully, trainable_shapes
from common.config import ModelConfig
from common.cut import Cut, client_side, read_config
from common.low_rank import Adapter
from common.models import load_encoder, load_tokenizer, resolve
from common.recommenders.embeddings import NAMES, add_item_structure
from common.recommenders.encoder import EncoderRecommender, EncoderSettings
from common.recommenders.projection import Identity, Projection
from common.recommenders.state import HEAD, trained_state
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
        backbone = add_lora(backbone, _lora(model), derive(seed, "adapter"), also)
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
    """The untrained adapter of the whole model, P_0: what everybody starts from.

    With low-rank adapters it follows from the model's shapes and the seed, and no weight is read; with full fine-tuning it
    is the weights.
    """
    if model.adapter == "full":
        return trained_state(build(model, seed))
    with torch.device("meta"):
        backbone, also = _without_pooler(AutoModel.from_config(read_config(resolve(model.name)))), ()
        if model.positions == "recformer":
            backbone, also = add_item_structure(backbone, model.history), NAMES
    wrapped = add_lora(backbone, _lora(model), derive(seed, "adapter"), also)
    head = Projection(backbone.config.hidden_size) if model.projection else Identity()
    shapes = {name: tensor.shape for name, tensor in trainable_shapes(wrapped).items()}
    shapes |= {HEAD + name: parameter.shape for name, parameter in head.named_parameters()}
    drawn = derive(seed, "adapter")
    return {
        name: initial_a(name, *shape, drawn) if ".lora_A." in name else torch.zeros(shape)
        for name, shape in shapes.items()
    }


def _lora(model: ModelConfig) -> LoraSettings:
    return LoraSettings(model.lora_rank, model.lora_alpha, model.lora_dropout, model.lora_targets)


def _without_pooler(backbone: nn.Module) -> nn.Module:
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None
    return backbone
