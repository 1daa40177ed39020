"""Making one side of a model: its own class, its own layers, nothing else read or allocated.

Exact in float32: hidden states and gradients are ``torch.equal`` to the whole model's, with the attention
implementations ``sdpa`` and ``eager``; the default is the one that the model's class itself chooses. Compare with a
whole model whose middle layers are frozen and that uses a cache where this one does: torch chooses kernels by
``requires_grad`` and by the memory layout of keys, and another kernel rounds differently (1e-6).
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

from common.cut.families import family_of, read_config
from common.cut.layers import put_layers
from common.cut.manifests import check_folder, read_manifest
from common.cut.names import whole_name
from common.cut.point import Cut, Side
from common.cut.skeleton import skeleton
from common.cut.slot import Trunk, TrunkSlot, watch_calls
from common.cut.ties import settle_ties
from common.cut.trunk import NoPositions, PassThrough, ServerTrunk
from common.cut.weights import read_weights
from common.dropout import without_dropout
from common.errors import ModelError

GENERATION_FILE = "generation_config.json"


def client_side(
    folder: Path | str,
    cut: Cut,
    trunk: Trunk | None = None,
    causal: bool = False,
    dtype: torch.dtype = torch.float32,
    attn_implementation: str | None = None,
) -> PreTrainedModel:
    """The client's side: the model's own class with a :class:`TrunkSlot` in the middle layers' place.

    In evaluation mode. ``generate`` keeps a key-value cache on both sides; other calls keep none unless told to. Without
    a pooler: only hidden states are used.

    Parameters
    ----------
    folder : a whole model, or the ``client`` folder of ``write_sides``.
    trunk : the hosted layers, or later with ``set_trunk``.
    causal : with the language model head.
    attn_implementation : ``sdpa``, ``eager`` or another of the library's; None takes the model's default.

    Raises
    ------
    ModelError : the cut, the folder or the weights do not fit, or the family has no causal head.
    """
    check_folder(folder, cut, "client")
    config = read_config(folder)
    family = family_of(config)
    model = skeleton(config, causal, attn_implementation)
    base = cast(PreTrainedModel, model.base_model)
    layers, middle = list(cast(nn.ModuleList, base.get_submodule(family.layers))), cut.middle(config.num_hidden_layers)
    types = getattr(config, "layer_types", None)
    slot = TrunkSlot(family, types[cut.k] if types else None)
    below = {str(index): layers[index] for index in range(cut.k)}
    above = {str(index): layers[index] for index in range(middle.stop, len(layers))}
    own_types = types and [*types[: cut.k + 1], *types[middle.stop :]]
    put_layers(base, family.layers, {**below, "trunk": slot, **above}, own_types)
    _load(model, folder, "client", cut, config, causal, dtype)
    if causal and (Path(folder) / GENERATION_FILE).is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    if causal:
        model.generation_config.use_cache = True
    watch_calls(base)
    slot.connect(trunk)
    model.eval()
    return model


def server_side(
    folder: Path | str, cut: Cut, dtype: torch.dtype = torch.float32, attn_implementation: str | None = None
) -> ServerTrunk:
    """The server's side: the middle layers, frozen, without dropout, and in evaluation mode.

    Parameters
    ----------
    folder : a whole model, or the ``server`` folder of ``write_sides``.

    Raises
    ------
    ModelError : the cut, the folder or the weights do not fit.
    """
    check_folder(folder, cut, "server")
    config = read_config(folder)
    family = family_of(config)
    base = skeleton(config, False, attn_implementation)
    layers, middle = list(cast(nn.ModuleList, base.get_submodule(family.layers))), cut.middle(config.num_hidden_layers)
    types = getattr(config, "layer_types", None)
    own_types = types and types[middle.start : middle.stop]
    put_layers(base, family.layers, {str(index): layers[index] for index in middle}, own_types)
    replacements = {
        family.embeddings: PassThrough(),
        family.positions: NoPositions(),
        family.tokens: nn.Identity(),
        family.dropout: nn.Identity(),
        family.norm: nn.Identity(),
    }
    for path, replacement in replacements.items():
        if path:
            base.set_submodule(path, replacement)
    trunk = ServerTrunk(base, family)
    _load(trunk, folder, "server", cut, config, False, dtype)
    without_dropout(trunk)
    return trunk.requires_grad_(False).eval()


def _load(
    side_model: nn.Module,
    folder: Path | str,
    side: Side,
    cut: Cut,
    config: PreTrainedConfig,
    causal: bool,
    dtype: torch.dtype,
) -> None:
    """Fills a side with its weights, those of a side's folder checked by their digests; a tied weight is read once."""
    own = read_manifest(folder)
    stored_as = settle_ties(side_model, folder) if isinstance(side_model, PreTrainedModel) else {}
    shapes = {name: parameter.shape for name, parameter in side_model.named_parameters()}
    names = {whole_name(stored_as.get(name, name), side, cut, config, causal): name for name in shapes}
    found = read_weights(folder, names, dtype, None if own is None else own.tensors)
    weights = {names[whole]: tensor for whole, tensor in found.items()}
    for name, tensor in weights.items():
        if tensor.shape != shapes[name]:
            raise ModelError(
                f"tensor {name!r} has shape {tuple(tensor.shape)!r}, config.json asks for {tuple(shapes[name])!r}",
                "config.json and the weights are of different models",
            )
    side_model.load_state_dict(weights, strict=False, assign=True)
    if isinstance(side_model, PreTrainedModel):
        side_model.tie_weights()
