"""A client's item matrix: its catalogue through the encoder; private, never federated.

Stage 1 encodes the catalogue anew whenever a round needs it. From ``train.freeze-items-from`` on (stage 2) the matrix of
the first frozen round stays, and only the user side goes on moving (RecFormer, arXiv 2305.13731).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor

from client_app.holding import Holding
from client_app.memory import Memory
from common.config import RunConfig
from common.models import resolve
from common.recommenders.encoder import EncoderRecommender
from common.recommenders.state import trained_state
from common.recommenders.text import ItemTexts


@dataclass
class Shelf:
    """A holding with its catalogue as the recommender reads it: item texts, and this round's item matrix [n, H]."""

    holding: Holding
    texts: ItemTexts
    items: Tensor


def frozen_in(config: RunConfig, round_number: int) -> bool:
    """Whether the item matrix is frozen in this round (rounds count from 1)."""
    return 0 < config.train.freeze_items_from <= round_number


def item_matrix(
    recommender: EncoderRecommender,
    texts: ItemTexts,
    holding: Holding,
    memory: Memory,
    config: RunConfig,
    round_number: int,
) -> Tensor:
    """The item matrix of a round, [n_items, H].

    A frozen matrix that this client does not remember (it joined late, or lost its disk) is encoded now and kept. What
    the untrained model makes of a catalogue is the same for everybody and every run, so that is kept by content.
    """
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


def _untrained(recommender: EncoderRecommender, texts: ItemTexts, shelf: Memory, config: RunConfig) -> Tensor:
    """The matrix for an adapter that nobody has trained yet; told by everything that it is made of."""
    layers = config.split.model_dump_json(include={"on", "k", "m", "codec", "batch_clients"})
    digest = hashlib.sha256(f"{config.model.model_dump_json()} {layers} {config.evaluate.batch_size}".encode())
    for path in sorted(resolve(config.model.name).glob("*.safetensors")):
        digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    for tensor in trained_state(recommender).values():
        digest.update(tensor.numpy().tobytes())
    digest.update(texts.tokens.tobytes() + texts.kinds.tobytes() + texts.offsets.tobytes())
    name = f"items-{digest.hexdigest()[:32]}"
    kept = shelf.load(name)
    if kept is not None:
        return kept["items"]
    matrix = recommender.encode_items(texts, config.evaluate.batch_size)
    shelf.save(name, {"items": matrix})
    return matrix
