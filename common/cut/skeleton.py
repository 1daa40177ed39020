"""A model's own class, built without memory for its weights."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from common.cut.families import check_writes, family_of
from common.errors import ModelError

M = TypeVar("M", bound=nn.Module)


def skeleton(config: PreTrainedConfig, causal: bool, attn_implementation: str | None = None) -> PreTrainedModel:
    """The whole model without its weights and its pooler: big tensors are on the meta device, buffers are computed.

    Raises
    ------
    ModelError : the family has no causal head, or its class refuses the configuration.
    """
    if causal:
        check_writes(config)
        if not family_of(config).causal:
            raise ModelError(f"causal is True, but {config.model_type!r} has no causal head", "set causal=False")
    chosen = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    try:
        with _EmptyOnMeta():
            maker = AutoModelForCausalLM if causal else AutoModel
            # a copy: a side writes its own layers into its configuration
            own = copy.deepcopy(config)
            # transformers leaves it without types
            model: PreTrainedModel = maker.from_config(own, dtype=torch.float32, **chosen)  # type: ignore[no-untyped-call]
    except (ValueError, ImportError) as error:
        raise ModelError(f"{config.model_type!r} cannot be made from its configuration: {error}") from error
    without_pooler(model)
    model.config.use_cache = False
    return model


def without_pooler(model: M) -> M:
    """The model itself, less the pooler that encoders put behind their hidden states, where it has one."""
    if getattr(model, "pooler", None) is not None:
        model.register_module("pooler", None)
    return model


class _EmptyOnMeta(TorchFunctionMode):
    """Puts what ``torch.empty`` makes on the meta device.

    Layers allocate their weights with it, while buffers (rotary frequencies, position ids) are computed and so stay
    real: they are in no checkpoint. Unlike accelerate's ``init_empty_weights``, it holds for the current thread only.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = {**(kwargs or {}), "device": "meta"} if func is torch.empty else kwargs or {}
        return func(*args, **kwargs)
