import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.functional import linear


class ClickModel:
    """One client's click model."""

    def __init__(self, folder):
        self.told = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        self.tensors = load_file(Path(folder) / "model.safetensors")
        self.codes = {
            what: {name: {value: code for code, value in enumerate(values)} for name, values in self.told[what].items()}
            for what in ("user", "item")
        }

    def encode(self, what, rows):
        """The codes of attributes, [rows, attributes]; 0 for a value that is missing or unknown."""
        columns = self.codes[what].items()
        return torch.tensor([[codes.get(row.get(name, ""), 0) for name, codes in columns] for row in rows])

    @torch.no_grad()
    def logits(self, user, items):
        """How the client likes each item, [items]; the sigmoid of it is the probability of a click."""
        columns = []
        for what, rows in (("user", [user] * len(items)), ("item", items)):
            codes = self.encode(what, rows)
            for place, name in enumerate(self.codes[what]):
                columns.append(self.tensors[f"{what}_embeddings.{name}.weight"][codes[:, place]])
        x = torch.cat(columns, dim=-1)
        for layer in self.told["layers"]:
            x = self.layer(x, **layer)
        return self.affine("output", x).squeeze(-1)

    def layer(self, x, name, common, paths, scale):
        found = [torch.relu(self.affine(common, x))]
        for path in paths:
            a, b = (self.tensors[f"{name}.{path}.lora_{factor}.weight"] for factor in "AB")
            found.append(scale * linear(linear(x, a), b))
        if f"{name}.gate.hidden.weight" not in self.tensors:
            return torch.stack(found).sum(dim=0)
        hidden = torch.relu(self.affine(f"{name}.gate.hidden", x))
        weights = self.affine(f"{name}.gate.paths", hidden).softmax(dim=-1)
        return (torch.stack(found, dim=-1) @ weights.unsqueeze(-1)).squeeze(-1)

    def affine(self, name, x):
        return linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])
