"""A client's item matrix: its catalogue through the model; private, never federated.

An encoder's is made by what is trained: stage 1 encodes the catalogue anew whenever a round needs it; from
``train.freeze-items-from`` on (stage 2) the matrix of the first frozen round stays, and only the user side goes on moving
(RecFormer, arXiv 2305.13731). A generative recommender's is made by the base model, and so stays for good.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor

from client_app.holding import Holding
from client_app.memory import Memory
from common.config import RunConfig
from common.models import resolve
from common.recommenders.recommender import Index, Recommender
from common.recommenders.state import trained_state


@dataclass
class Shelf:
    """A holding with its catalogue as the recommender reads it: item texts, and this round's item matrix [n, H]."""

    holding: Holding
    texts: Index
    items: Tensor


def frozen_in(config: RunConfig, round_number: int) -> bool:
    """Whether the item matrix is frozen in this round (rounds count from 1)."""
    return 0 < config.train.freeze_items_from <= round_number


def item_matrix(
    recommender: Recommender,
    texts: Index,
    holding: Holding,
    memory: Memory,
    config: RunConfig,
    round_number: int,
) -> Tensor:
    """The item matrix of a round, [n_items, H].

    A frozen matrix that this client does not remember (it joined late, or lost its disk) is encoded now and kept. What
    an untrained model makes of a catalogue is the same for everybody and every run, so that is kept by content.
    """
    if not recommender.items_are_trained:
        return _untrained(recommender, texts, memory.shared(), config)
    name, frozen = f"items-{holding.client}", frozen_in(config, round_number)
    remembered = memory.load(name) if frozen else None
    if remembered is not None and remembered["items"].shape[0] == len(texts):
        return remembered["items"]
    if round_number <= 1:
        matrix = _untrained(recommender, texts, memory.shared(), config)
    else:
        matrix = recommender.encode_items(texts, config.evaluate.batch_size)
    if frozen:
        memory.save(name, {"items": matrix})
    return matrix


def _untrained(recommender: Recommender, texts: Index, shelf: Memory, config: RunConfig) -> Tensor:
    """The matrix that nobody's training has touched; told by everything that it is made of."""
    layers = config.split.model_dump_json(include={"on", "k", "m", "codec", "batch_clients"})
    made = f"{config.model.model_dump_json()} {config.generate.embedding} {layers} {config.evaluate.batch_size}"
    digest = hashlib.sha256(made.encode())
    for path in sorted(resolve(config.model.name).glob("*.safetensors")):
        digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    if recommender.items_are_trained:
        for tensor in trained_state(recommender).values():
            digest.update(tensor.numpy().tobytes())
    digest.update(texts.digest.encode())
    name = f"items-{digest.hexdigest()[:32]}"
    kept = shelf.load(name)
    if kept is not None:
        return kept["items"]
    matrix = recommender.encode_items(texts, config.evaluate.batch_size)
    shelf.save(name, {"items": matrix})
    return matrix
