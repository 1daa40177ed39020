"""What clients may take of a run's split service: the settings, and where these say 0 what the run itself needs.

A client that keeps to the run's settings sends no larger request than its batches make, so nobody else may either.
"""

from __future__ import annotations

import math

from transformers import PreTrainedConfig

from common.config import RunConfig
from common.recommenders.generative.recommender import ROWS
from server_app.split.settings import Limits


def limits_of(config: RunConfig, backbone: PreTrainedConfig) -> Limits:
    """The limits of a run's service.

    Parameters
    ----------
    backbone : of the whole model; its window is what rows are padded to.
    """
    asked, train, evaluate = config.split.limits, config.train, config.evaluate
    windows = getattr(backbone, "attention_window", None) or 1
    window = max(windows) if isinstance(windows, (list, tuple)) else windows
    width = asked.width or math.ceil(config.model.max_tokens / window) * window
    rows = max(train.batch_size, evaluate.batch_size)
    if config.model.recommender == "generative":
        rows = max(rows, ROWS, config.generate.beams)
    training = math.ceil(train.batch_size / train.micro_batches)
    needed = {
        "width": width,
        "tokens": asked.tokens or rows * width,
        "training_tokens": asked.training_tokens or training * width,
        "micro_batches": asked.micro_batches or train.micro_batches,
        "tokens_per_second": config.split.tokens_per_second,
    }
    return Limits(**{**asked.model_dump(), **needed})
