import json
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


class GatedLayer(nn.Module):
    """A linear layer of the base model with low-rank paths beside it, weighed input by input."""

    on = True

    def __init__(self, common, tensors, paths, scale):
        super().__init__()
        self.common, self.tensors, self.paths, self.scale = common, tensors, paths, scale

    def forward(self, x):
        found = [self.common(x)]
        if not GatedLayer.on:
            return found[0]
        for path in self.paths:
            a, b = (self.tensors[f"{path}.lora_{factor}.weight"] for factor in "AB")
            found.append(self.scale * (x @ a.T @ b.T))
        if "gate.hidden.weight" not in self.tensors:
            return torch.stack(found).sum(dim=0)
        hidden = torch.relu(x @ self.tensors["gate.hidden.weight"].T + self.tensors["gate.hidden.bias"])
        weights = (hidden @ self.tensors["gate.paths.weight"].T + self.tensors["gate.paths.bias"]).softmax(dim=-1)
        return (torch.stack(found, dim=-1) @ weights.unsqueeze(-1)).squeeze(-1)


def adapted(model, folder):
    """The base model with the paths and gates of a folder."""
    told = json.loads((Path(folder) / "gated.json").read_text(encoding="utf-8"))
    tensors = load_file(Path(folder) / "gated.safetensors")
    for layer in told["layers"]:
        own = {name[len(layer) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(layer + ".")}
        parent, _, last = layer.rpartition(".")
        gated = GatedLayer(model.get_submodule(layer), own, told["paths"], told["scale"])
        setattr(model.get_submodule(parent), last, gated)

    @contextmanager
    def disable_adapter():
        GatedLayer.on = False
        try:
            yield
        finally:
            GatedLayer.on = True

    model.disable_adapter = disable_adapter
    return model.eval()
