"""A recommender from the configuration: backbone, adapter, text settings. The same call on every machine."""

from __future__ import annotations

import torch
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from common.adapters.lora import LoraSettings, add_lora, initial_a, train_fully, trainable_shapes
from common.config import GenerateConfig, ModelConfig
from common.cut import Cut, client_side, read_config
from common.cut.skeleton import without_pooler
from common.low_rank import Adapter
from common.models import DTYPES, load_causal, load_encoder, load_tokenizer, resolve
from common.recommenders.embeddings import NAMES, add_item_structure
from common.recommenders.encoder import EncoderRecommender, EncoderSettings
from common.recommenders.generative import GenerativeRecommender, GenerativeSettings
from common.recommenders.projection import Identity, Projection
from common.recommenders.recommender import Recommender
from common.recommenders.state import HEAD, trained_state
from common.seeds import derive

PAPER = GenerateConfig()


def build(model: ModelConfig, seed: int, cut: Cut | None = None, generate: GenerateConfig = PAPER) -> Recommender:
    """The recommender with its untrained adapter, in evaluation mode; everyone who gives the same seed gets the same.

    With a ``cut`` it is the client's side: the middle layers are neither read nor allocated, and their place is taken by
    a slot that ``common.cut.set_trunk`` fills. Its trained tensors have the names and the start of the whole model's.
    A frozen base has no dropout of its own, see :func:`common.dropout.without_dropout`.

    Raises
    ------
    ModelError : the model cannot be found, loaded, cut or adapted.
    ConfigError : the text settings do not fit the model.
    """
    backbone, also = _backbone(model, cut), ()
    if model.positions == "recformer":
        backbone, also = add_item_structure(backbone, model.history), NAMES
    if model.checkpointing:
        backbone.gradient_checkpointing_enable({"use_reentrant": False})
    if model.adapter == "lora":
        backbone = add_lora(backbone, _lora(model), derive(seed, "adapter"), also)
    else:
        backbone = train_fully(backbone)
    tokenizer = load_tokenizer(resolve(model.name))
    if causal(model):
        return GenerativeRecommender(backbone, tokenizer, _words(model, generate)).eval()
    return EncoderRecommender(backbone, tokenizer, _vectors(model)).eval()


def origin(model: ModelConfig, seed: int) -> Adapter:
    """The untrained adapter of the whole model, P_0: what everybody starts from.

    With low-rank adapters it follows from the model's shapes and the seed, and no weight is read; with full fine-tuning it
    is the weights.
    """
    if model.adapter == "full":
        return trained_state(build(model, seed))
    with torch.device("meta"):
        maker = AutoModelForCausalLM if causal(model) else AutoModel
        backbone, also = without_pooler(maker.from_config(read_config(resolve(model.name)))), ()
        if model.positions == "recformer":
            backbone, also = add_item_structure(backbone, model.history), NAMES
    wrapped = add_lora(backbone, _lora(model), derive(seed, "adapter"), also)
    head = Projection(backbone.config.hidden_size) if has_projection(model) else Identity()
    shapes = {name: tensor.shape for name, tensor in trainable_shapes(wrapped).items()}
    shapes |= {HEAD + name: parameter.shape for name, parameter in head.named_parameters()}
    drawn = derive(seed, "adapter")
    return {
        name: initial_a(name, *shape, drawn) if ".lora_A." in name else torch.zeros(shape)
        for name, shape in shapes.items()
    }


def causal(model: ModelConfig) -> bool:
    """Whether the backbone is asked in words, and so needs its language model head."""
    return model.recommender == "generative"


def has_projection(model: ModelConfig) -> bool:
    """Whether vectors are turned by trained matrices; a generative recommender has none to turn."""
    return model.projection and not causal(model)


def _backbone(model: ModelConfig, cut: Cut | None) -> PreTrainedModel:
    folder, dtype = resolve(model.name), DTYPES[model.dtype]
    if cut is not None:
        return client_side(folder, cut, causal=causal(model), dtype=dtype)
    if causal(model):
        return load_causal(folder, dtype, model.quantise)
    return load_encoder(folder, dtype)


def _words(model: ModelConfig, generate: GenerateConfig) -> GenerativeSettings:
    return GenerativeSettings(
        history=model.history,
        max_tokens=model.max_tokens,
        title_tokens=model.item_tokens,
        beams=generate.beams,
        grounding=generate.grounding,
        loss_on=generate.loss_on,
        instruction=generate.instruction,
        embedding=generate.embedding,
    )


def _vectors(model: ModelConfig) -> EncoderSettings:
    return EncoderSettings(
        history=model.history,
        max_tokens=model.max_tokens,
        item_tokens=model.item_tokens,
        temperature=model.temperature,
        pooling=model.pooling,
        recency=model.recency,
        projection=model.projection,
    )


def _lora(model: ModelConfig) -> LoraSettings:
    return LoraSettings(model.lora_rank, model.lora_alpha, model.lora_dropout, model.lora_targets)
