"""What a client pays: parameters, bytes of weights, peak memory, operations per step, beside those of the whole model."""

from __future__ import annotations

from client_app.items import Shelf
from common.config import RunConfig
from common.cut import Cut, cost
from common.memory_use import peak_memory
from common.models import DTYPES, resolve
from common.recommenders.recommender import Recommender, flops_per_step


def client_cost(recommender: Recommender, shelf: Shelf, config: RunConfig) -> dict[str, float]:
    """The client's part of ``cost`` in ``result.json``; hosted layers, if there are any, are to be out of the way.

    Parameters are those that this process holds, operations those of one training step as torch counts them, peak memory
    is that of the whole process. Base weights are counted from their shapes, in bytes of the type they are held in.
    """
    model = config.model
    # without the split its settings say nothing, and need not fit the model
    cut = Cut(config.split.k, config.split.m) if config.split.on else Cut(0, 0)
    weights = cost(resolve(model.name), cut, model.recommender == "generative", DTYPES[model.dtype])
    trained = sum(parameter.numel() for parameter in recommender.parameters() if parameter.requires_grad)
    return {
        "parameters": sum(parameter.numel() for parameter in recommender.parameters()),
        "parameters_whole": weights["whole"]["parameters"] + trained,
        "trained_parameters": trained,
        "weights_bytes": weights["client" if config.split.on else "whole"]["bytes"],
        "weights_bytes_whole": weights["whole"]["bytes"],
        "peak_memory_bytes": peak_memory(),
        "flops_per_step": _flops(recommender, shelf, config),
    }


def _flops(recommender: Recommender, shelf: Shelf, config: RunConfig) -> int:
    examples = shelf.holding.examples(config, 1)
    rows = range(min(config.train.batch_size, len(examples)))
    histories, targets = [examples.histories[row] for row in rows], examples.targets[: len(rows)]
    return flops_per_step(recommender, histories, targets, shelf.texts, shelf.items)
