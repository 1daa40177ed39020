"""Learning a causal model from a corpus: which text each step reads, and the steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from common.recommenders.corpus import Corpus
from common.recommenders.generative.prompt import IGNORED, Prompts
from common.seeds import derive
from fellrec.learning_state import keep, take_up

WARM_UP, FLOOR = 0.03, 0.02  # share of the way; share of the learning rate
DECAY, CLIP, BETAS = 0.01, 1.0, (0.9, 0.95)
EMBEDDINGS = 0.4  # their learning rate, against the matrices'
DOCUMENT_STEPS = 6  # one step in so many reads items' attributes, the others lists of titles
KEEP = 30.0  # seconds between two states on disk


class Pace(NamedTuple):
    """How long to learn, and in which steps.

    steps : exactly so many, or 0; then ``seconds`` of work, over all interruptions. batch : sequences a step.
    learning_rate : the matrices' highest; it rises, then falls, in a line. seed : of the order of the text.
    """

    steps: int
    seconds: float
    batch: int
    learning_rate: float
    seed: int


class Learning(NamedTuple):
    """Where the learning stands: its share in [0, 1], steps, the mean token loss of late in nats, seconds of work."""

    share: float
    steps: int
    loss: float
    seconds: float


class Reading:
    """What each step reads; step by step the same for a seed, wherever the learning was interrupted."""

    def __init__(self, corpus: Corpus, prompts: Prompts, batch: int, seed: int) -> None:
        self._corpus, self._prompts, self._batch, self._seed = corpus, prompts, batch, seed
        self._titles = prompts.titles(corpus)
        room = prompts.template.max_tokens - len(prompts.before) - 1
        self._documents = [ids[:room] for ids in prompts.pieces.first(corpus.documents)]

    def batch(self, step: int) -> dict[str, Tensor]:
        """What the model is called with: ids, mask, positions and labels, each int64 [B, T]."""
        random = np.random.default_rng(derive(self._seed, "step", step))
        if step % DOCUMENT_STEPS == DOCUMENT_STEPS - 1:
            return self._items(random)
        longest = self._prompts.template.history + 1
        # Every other step reads full lists: the fewer the titles, the more of a prompt is its unchanging words.
        length = longest if step % 2 else int(random.integers(2, longest + 1))
        lists = self._corpus.lists(self._batch, length, random)
        histories, targets = [one[:-1] for one in lists], [one[-1] for one in lists]
        return self._prompts.with_answers(histories, targets, self._titles, "all")._asdict()

    def _items(self, random: np.random.Generator) -> dict[str, Tensor]:
        # An item's text is a few times shorter than a prompt.
        chosen = random.integers(len(self._documents), size=4 * self._batch)
        rows = [[*self._prompts.before, *self._documents[one], self._prompts.eos] for one in chosen]
        batch = self._prompts.pad_left(rows)
        return batch._asdict() | {"labels": batch.input_ids.masked_fill(batch.attention_mask == 0, IGNORED)}


def learn(
    model: PreTrainedModel, reading: Reading, pace: Pace, state: Path, told: Callable[[Learning], None]
) -> Learning:
    """Train ``model`` in place; every half a minute its state goes to ``state``, and a state there is taken up."""
    optimisers = _optimisers(model, pace.learning_rate)
    highest = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
    kept = take_up(state, model, optimisers) or {"steps": 0, "loss": 0.0, "seconds": 0.0}
    steps, loss, before = int(kept["steps"]), kept["loss"], kept["seconds"]
    began = saved = time.monotonic()
    share = _share(pace, steps, before)
    model.train()
    while share < 1.0:
        for optimiser, rate in zip(optimisers, highest, strict=True):
            optimiser.param_groups[0]["lr"] = rate * min(share / WARM_UP + FLOOR, max(1.0 - share, FLOOR))
        found = model(**reading.batch(steps)).loss
        found.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        value = float(found.detach())
        loss = 0.95 * loss + 0.05 * value if steps else value
        steps += 1
        seconds = before + time.monotonic() - began
        share = _share(pace, steps, seconds)
        if time.monotonic() - saved > KEEP:
            keep(state, model, optimisers, {"steps": steps, "loss": loss, "seconds": seconds})
            saved = time.monotonic()
        told(Learning(share, steps, loss, seconds))
    return Learning(share, steps, loss, before + time.monotonic() - began)


def _share(pace: Pace, steps: int, seconds: float) -> float:
    return min(1.0, steps / pace.steps if pace.steps else seconds / pace.seconds)


def _optimisers(model: PreTrainedModel, learning_rate: float) -> list[Optimizer]:
    """Muon (Jordan et al., 2024) for the layers' matrices, AdamW for embeddings and norms: fewer steps than AdamW alone."""
    blocks = model.base_model.get_submodule("layers")
    layers = {id(parameter) for parameter in blocks.parameters() if parameter.ndim == 2}
    matrices = [parameter for parameter in model.parameters() if id(parameter) in layers]
    others = [parameter for parameter in model.parameters() if id(parameter) not in layers]
    return [
        torch.optim.Muon(matrices, learning_rate, DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, EMBEDDINGS * learning_rate, BETAS, weight_decay=0.0),
    ]
