"""A recommender from the configuration: backbone, adapter, text settings. The same call on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from common.adapters.gated import GatedSettings, add_gated
from common.adapters.lora import LoraSettings, add_lora, initial_a, targets_of, train_fully, trainable_shapes
from common.config import FedpaConfig, GenerateConfig, ModelConfig, RunConfig, parse_groups
from common.cut import Cut, client_side, read_config
from common.cut.families import check_writes
from common.cut.skeleton import without_pooler
from common.dropout import without_dropout
from common.errors import ModelError
from common.low_rank import Adapter
from common.models import DTYPES, load_causal, load_config, load_encoder, load_tokenizer, resolve
from common.recommenders.encoder.embeddings import NAMES, add_item_structure
from common.recommenders.encoder.recommender import EncoderRecommender, EncoderSettings
from common.recommenders.generative.recommender import GenerativeRecommender
from common.recommenders.generative.settings import GenerativeSettings
from common.recommenders.recommender import Recommender
from common.recommenders.state import HEAD, trained_shapes, trained_state
from common.seeds import derive

PAPER, PATHS = GenerateConfig(), FedpaConfig()


def build(
    model: ModelConfig,
    seed: int,
    cut: Cut | None = None,
    generate: GenerateConfig = PAPER,
    fedpa: FedpaConfig = PATHS,
) -> Recommender:
    """The recommender with its untrained adapter, in evaluation mode; everyone who gives the same seed gets the same.

    With a ``cut`` it is the client's side: the middle layers are neither read nor allocated, and their place is taken by
    a slot that ``common.cut.set_trunk`` fills. Its trained tensors have the names and the start of the whole model's.
    A frozen base has no dropout of its own, see :func:`common.dropout.without_dropout`.

    Raises
    ------
    ModelError : the model cannot be found, loaded, cut or adapted.
    ConfigError : the text settings do not fit the model.
    """
    backbone, also = _backbone(model, cut), _also(model)
    if also:
        backbone = add_item_structure(backbone, model.history)
    if model.checkpointing:
        backbone.gradient_checkpointing_enable({"use_reentrant": False})
    if model.adapter == "full":
        return _recommender(train_fully(backbone), model, generate).eval()
    return _recommender(_adapted(backbone, model, fedpa, derive(seed, "adapter"), also), model, generate).eval()


def origin(model: ModelConfig, seed: int, generate: GenerateConfig = PAPER, fedpa: FedpaConfig = PATHS) -> Adapter:
    """The untrained adapter of the whole model, P_0: what everybody starts from.

    With low-rank adapters it follows from the model's shapes and the seed, and no weight is read; with full fine-tuning it
    is the weights.

    Raises
    ------
    FellrecError : as :func:`build`, but for what only the weights tell.
    """
    if model.adapter == "full":
        return trained_state(build(model, seed, generate=generate))
    recommender = _shapes(model, seed, generate, fedpa)
    if model.adapter == "gated":
        # only the backbone is without memory: the paths and gates have their first values
        return {
            name: torch.zeros(tensor.shape) if tensor.is_meta else tensor.clone()
            for name, tensor in trained_shapes(recommender).items()
        }
    shapes = {name: tensor.shape for name, tensor in trainable_shapes(recommender.backbone).items()}
    shapes |= {HEAD + name: parameter.shape for name, parameter in recommender.projection.named_parameters()}
    drawn = derive(seed, "adapter")
    return {
        name: initial_a(name, shape[0], shape[1], drawn) if ".lora_A." in name else torch.zeros(shape)
        for name, shape in shapes.items()
    }


def check(config: RunConfig) -> None:
    """Refuses a model that :func:`build` would, by its configuration and tokenizer alone: no weight is read.

    Raises
    ------
    ModelError : the model cannot be found, cut or adapted, is of the wrong kind, or has another model's tokenizer.
    ConfigError : the text settings do not fit the model.
    """
    if config.split.on:
        Cut(config.split.k, config.split.m).check(read_config(resolve(config.model.name)))
    _shapes(config.model, 0, config.generate, config.fedpa)


def causal(model: ModelConfig) -> bool:
    """Whether the backbone is asked in words, and so needs its language model head."""
    return model.recommender == "generative"


def _shapes(model: ModelConfig, seed: int, generate: GenerateConfig, fedpa: FedpaConfig) -> Recommender:
    """The recommender of the whole model with its adapter, without memory for the backbone."""
    config, also = load_config(resolve(model.name)), _also(model)
    if causal(model):
        check_writes(config)
    with torch.device("meta"):
        maker = AutoModelForCausalLM if causal(model) else AutoModel
        try:
            # transformers leaves it without types
            backbone: PreTrainedModel = without_pooler(maker.from_config(config))  # type: ignore[no-untyped-call]
        except (ValueError, ImportError) as error:
            raise ModelError(f"{config.model_type!r} cannot be made from its configuration: {error}") from error
        if also:
            backbone = add_item_structure(backbone, model.history)
    if model.adapter == "full":
        return _recommender(backbone, model, generate)
    return _recommender(_adapted(backbone, model, fedpa, derive(seed, "adapter"), also), model, generate)


def _also(model: ModelConfig) -> tuple[str, ...]:
    """Names of the modules that are trained in full beside the adapters."""
    return NAMES if model.positions == "recformer" else ()


def _adapted(
    backbone: PreTrainedModel, model: ModelConfig, fedpa: FedpaConfig, seed: int, also: Sequence[str]
) -> nn.Module:
    if model.adapter == "lora":
        return add_lora(backbone, _lora(model), seed, also)
    width = int(fedpa.gate_width.split(",")[0]) if fedpa.gate else 0
    settings = GatedSettings(fedpa.rank, fedpa.alpha, width, fedpa.common_share, fedpa.user_adapter)
    groups = tuple(parse_groups(fedpa.groups)) if fedpa.group_adapters else ()
    targets = targets_of(backbone.config.model_type, model.lora_targets)
    gated = add_gated(without_dropout(backbone), targets, groups, settings, seed)
    for name, module in gated.named_modules():
        if name.rpartition(".")[2] in also:
            module.requires_grad_(True)
    return gated


def _recommender(backbone: nn.Module, model: ModelConfig, generate: GenerateConfig) -> Recommender:
    tokenizer = load_tokenizer(resolve(model.name))
    if causal(model):
        return GenerativeRecommender(backbone, tokenizer, _words(model, generate))
    return EncoderRecommender(backbone, tokenizer, _vectors(model))


def _backbone(model: ModelConfig, cut: Cut | None) -> PreTrainedModel:
    folder, dtype = resolve(model.name), DTYPES[model.dtype]
    config = load_config(folder)
    if cut is not None:
        return client_side(folder, cut, causal=causal(model), dtype=dtype)
    if causal(model):
        check_writes(config)
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
