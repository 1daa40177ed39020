"""Tiny models with random weights, whole and cut, and hosts for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel

from client_app.link_settings import LinkSettings
from common.cut import Cut, client_side, read_config, server_side, set_trunk, whole_name
from server_app.split.adapter import initial
from server_app.split.host import SplitHost
from server_app.split.settings import HostedLora, HostSettings, TlsFiles

WIDTH = 32
LAYERS = 5
SHAPE = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 48}
KINDS = {
    "bert": {**SHAPE, "vocab_size": 60, "max_position_embeddings": 40},
    "llama": {**SHAPE, "num_key_value_heads": 1, "vocab_size": 60, "max_position_embeddings": 64},
    "gpt2": {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": 2, "vocab_size": 60, "n_positions": 40},
    "longformer": {**SHAPE, "vocab_size": 60, "max_position_embeddings": 60, "attention_window": [4] * LAYERS},
}
TARGETS = {
    "bert": ("query", "value"),
    "llama": ("q_proj", "v_proj"),
    "gpt2": ("c_attn",),
    "longformer": ("query", "value"),
}
SEED = 7


def model_folder(kind: str, folder: Path, causal: bool = False) -> Path:
    """A model of a kind with random weights, saved; ``causal`` gives it a language model head."""
    config = AutoConfig.for_model(kind, **KINDS[kind], pad_token_id=0)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = (AutoModelForCausalLM if causal else AutoModel).from_config(config)
        for parameter in model.parameters():
            # the library's initialisation makes tiny models almost linear
            nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder


def trained_whole(folder: Path, kind: str) -> nn.Module:
    """The whole model in one process, with LoRA on every layer, without dropout."""
    return _with_lora(AutoModel.from_pretrained(folder), kind)


def trained_client(folder: Path, kind: str, cut: Cut, trunk: Callable) -> nn.Module:
    """The client's side with LoRA on its own layers (frozen where it has none), without dropout."""
    side: PreTrainedModel = client_side(folder, cut)
    set_trunk(side, trunk)
    if cut.k + cut.m == 0:
        return side.requires_grad_(False)
    return _with_lora(side, kind)


def _with_lora(model: nn.Module, kind: str) -> nn.Module:
    config = LoraConfig(r=8, lora_alpha=16, target_modules=list(TARGETS[kind]), fan_in_fan_out=kind == "gpt2")
    with torch.random.fork_rng():
        wrapped = get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in trained(wrapped).items():
            if ".lora_A." in name:
                layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
                parameter.copy_(initial({layer: (parameter.shape[1], 1)}, 8, SEED)[name])
    return wrapped


def host_settings(kind: str, cut: Cut, **changes: object) -> HostSettings:
    """Settings of a host of a tiny model; ``changes`` replace single ones."""
    settings = {
        "run": "test",
        "digest": kind,
        "k": cut.k,
        "m": cut.m,
        "hidden_size": WIDTH,
        "lora": HostedLora(TARGETS[kind]),
    }
    return HostSettings(**{**settings, **changes})


def host_for(
    folder: Path, kind: str, cut: Cut, state: Path, tls: TlsFiles | None = None, **changes: object
) -> SplitHost:
    """A host of the middle layers, not started."""
    config = read_config(folder)
    return SplitHost(
        server_side(folder, cut),
        host_settings(kind, cut, **changes),
        state,
        tls,
        whole_name=lambda name: whole_name(name, "server", cut, config),
    )


def link_settings(kind: str, cut: Cut, **changes: object) -> LinkSettings:
    """Settings of a link to such a host."""
    settings = {"digest": kind, "k": cut.k, "m": cut.m, "hidden_size": WIDTH, "reply_seconds": 10.0}
    return LinkSettings(**{**settings, **changes})


def batch(seed: int, rows: int = 3, width: int = 8, left: bool = False) -> dict[str, Tensor]:
    """Token ids and a mask with padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 60, (rows, width), generator=generator)
    lengths = torch.randint(2, width + 1, (rows,), generator=generator)
    lengths[0] = width
    columns = torch.arange(width)
    mask = (columns >= width - lengths[:, None] if left else columns < lengths[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def loss_of(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """A loss over the tokens, not over the padding."""
    hidden = model(**inputs).last_hidden_state
    return (hidden.sin() * inputs["attention_mask"].unsqueeze(-1)).pow(2).sum() / inputs["attention_mask"].sum()


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Trainable parameters by PEFT's names in a saved adapter."""
    return {
        name.replace(".default", ""): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def optimiser(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """The optimiser that the host uses too; for a model without anything to train, one that does nothing."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(parameters or [torch.zeros(1, requires_grad=True)], lr=rate)
