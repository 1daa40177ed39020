import json
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer


class Recommender:
    """Users and items as vectors of the base model with this adapter."""

    def __init__(self, folder, base):
        self.folder = Path(folder)
        self.told = json.loads((self.folder / "recommender.json").read_text(encoding="utf-8"))
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        model = AutoModel.from_pretrained(base, dtype=getattr(torch, self.told["dtype"]))
        self.model = adapted(model, self.folder)
        self.turn = load_file(self.folder / "projection.safetensors") if self.told["projection"] else None

    def read(self, catalogue):
        """Makes the item matrix; ``catalogue`` is a list of items, each its attributes in order, the title first."""
        key, value, told = self.told["text"]["key"], self.told["text"]["value"], self.told["items"]
        self.texts = []
        for item in catalogue:
            parts = [(key.format(name), value.format(said)) for name, said in item.items() if said]
            tokens = [token for part in parts for text in part for token in self._tokens(text)]
            self.texts.append(tokens[: self.told["item_tokens"]])
        if told["encoded_by"] == "file":
            matrix = load_file(self.folder / told["file"])["items"]
            if len(matrix) != len(catalogue):
                raise ValueError(f"{told['file']} holds {len(matrix)} items, the catalogue {len(catalogue)}")
        else:
            order = sorted(range(len(catalogue)), key=lambda item: len(self.texts[item]))
            with self.model.disable_adapter() if told["encoded_by"] == "base" else nullcontext():
                vectors = self._vectors([[item] for item in order])
            matrix = torch.empty_like(vectors).index_copy_(0, torch.tensor(order), vectors)
        self.items = self._turned(matrix, "item")

    def scores(self, histories):
        """Scores [users, items]; a history is positions in the catalogue, oldest first. What was seen is not left out."""
        users = self._turned(self._vectors([list(history)[::-1] for history in histories]), "user")
        return users @ self.items.T / self.told["temperature"]

    def _tokens(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _turned(self, vectors, side):
        return vectors if self.turn is None else normalize(vectors + vectors @ self.turn[side].T, dim=-1)

    @torch.no_grad()
    def _vectors(self, sequences):
        """Vectors [n, H] of length 1 of sequences of items, newest first."""
        before, after, batch = self.told["before"], self.told["after"], self.told["batch"]
        room, found = self.told["max_tokens"] - len(before) - len(after), []
        for start in range(0, len(sequences), batch):
            rows, weights = [], []
            for items in sequences[start : start + batch]:
                ids, weight = [], []
                for place, item in enumerate(items[: self.told["history"]]):
                    # an item that does not fit whole is left out, and all older ones with it
                    if len(ids) + len(self.texts[item]) > room:
                        break
                    ids += self.texts[item]
                    weight += [self.told["recency"] ** place] * len(self.texts[item])
                rows.append([*before, *ids, *after])
                weights.append([1.0] * len(before) + weight + [1.0] * len(after))
            longest = max(map(len, rows))
            ids = torch.tensor([row + [self.told["pad"]] * (longest - len(row)) for row in rows])
            weight = torch.tensor([row + [0.0] * (longest - len(row)) for row in weights]).unsqueeze(-1)
            mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
            inputs = {"input_ids": ids, "attention_mask": mask}
            if self.told["global_first"]:
                inputs["global_attention_mask"] = torch.zeros_like(ids).index_fill_(1, torch.tensor([0]), 1)
            hidden = self.model(**inputs).last_hidden_state.float()
            first = self.told["pooling"] == "first"
            pooled = hidden[:, 0] if first else (hidden * weight).sum(1) / weight.sum(1)
            found.append(normalize(pooled, dim=-1))
        return torch.cat(found)
