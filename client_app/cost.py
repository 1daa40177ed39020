"""What a client pays: parameters, bytes on disk, peak memory, operations per step. Counted and measured, not estimated."""

from __future__ import annotations

from client_app.training import Shelf
from common.config import RunConfig
from common.memory_use import peak_memory
from common.models import resolve
from common.recommenders.encoder import EncoderRecommender, flops_per_step


def client_cost(recommender: EncoderRecommender, shelf: Shelf, config: RunConfig) -> dict[str, float]:
    """The client's share of ``cost`` in ``result.json``; peak memory is that of the whole process, in bytes."""
    parameters = sum(parameter.numel() for parameter in recommender.parameters())
    weights = sum(path.stat().st_size for path in resolve(config.model.name).glob("*.safetensors"))
    return {
        "parameters": parameters,
        "weights_bytes": weights,
        "trained_parameters": sum(p.numel() for p in recommender.parameters() if p.requires_grad),
        "peak_memory_bytes": peak_memory(),
        "flops_per_step": _flops(recommender, shelf, config),
    }


def _flops(recommender: EncoderRecommender, shelf: Shelf, config: RunConfig) -> int:
    examples = shelf.holding.examples(config, 1)
    rows = range(min(config.train.batch_size, len(examples)))
    histories, targets = [examples.histories[row] for row in rows], examples.targets[: len(rows)]
    return flops_per_step(recommender, histories, targets, shelf.texts, shelf.items)
