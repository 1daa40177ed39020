"""Local steps: what a client does with its budget in one round."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from client_app.items import Shelf, frozen_in
from common.config import RunConfig
from common.data.split import TrainingExamples
from common.errors import ModelError
from common.recommenders.recommender import Recommender
from common.seeds import derive


@dataclass(frozen=True)
class Learned:
    """What a round of local training yields: the mean loss over all its examples, and how many there were."""

    loss: float
    examples: int


def train(
    recommender: Recommender,
    shelves: Sequence[Shelf],
    config: RunConfig,
    client: str,
    round_number: int,
    rate: float,
    step_hosted: Callable[[float], None] = lambda rate: None,
    ahead: int = 1,
) -> Learned:
    """Trains the recommender's adapter in place with AdamW at learning rate ``rate``; ``step_hosted`` steps hosted layers.

    With ``ahead`` above 1 so many micro-batches are under way at once, since hosted layers compute elsewhere; gradients
    are added in the order of the micro-batches all the same, so that no number depends on it.

    ``shelves`` has one entry, but for centralised training, where it has one for each client; a batch never mixes them,
    since each is ranked on its own catalogue. From the second local epoch on the item matrices are encoded anew by the
    caller's choice of stage (RecFormer); within an epoch they are constant.

    Raises
    ------
    ModelError : the loss is not finite.
    """
    trained = [parameter for parameter in recommender.parameters() if parameter.requires_grad]
    received = [parameter.detach().clone() for parameter in trained]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=config.train.weight_decay)
    proximal = config.fedprox.mu if config.strategy.name == "fedprox" else 0.0
    frozen = frozen_in(config, round_number)
    drawn = [shelf.holding.examples(config, round_number) for shelf in shelves]
    total, count = 0.0, 0
    recommender.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, "dropout", client, round_number))
        for epoch in range(config.train.local_epochs):
            if epoch and recommender.items_are_trained and not frozen:
                for shelf in shelves:
                    shelf.items = recommender.encode_items(shelf.texts, config.evaluate.batch_size)
            shuffle = np.random.default_rng(derive(config.seed, "batches", client, round_number, epoch))
            for place, rows in _batches([len(examples) for examples in drawn], config.train.batch_size, shuffle):
                optimiser.zero_grad(set_to_none=True)
                loss = 0.0
                for part in _losses(recommender, shelves[place], drawn[place], rows, config.train.micro_batches, ahead):
                    if not torch.isfinite(part):
                        raise ModelError(
                            f"client {client!r}: the loss became {part.item()!r}", "lower 'train.learning-rate'"
                        )
                    part.backward()
                    loss += part.item()
                if proximal:
                    pairs = zip(trained, received, strict=True)
                    pull = sum(((p - q).pow(2).sum() for p, q in pairs), start=torch.zeros(()))
                    (proximal / 2 * pull).backward()
                optimiser.step()
                step_hosted(rate)
                total, count = total + loss * len(rows), count + len(rows)
    recommender.eval()
    return Learned(total / count, count)


def _batches(sizes: Sequence[int], batch: int, shuffle: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    """Shuffled batches of each shelf, in shuffled order over the shelves."""
    cut = []
    for place, size in enumerate(sizes):
        order = shuffle.permutation(size)
        cut += [(place, order[start : start + batch]) for start in range(0, size, batch)]
    yield from (cut[position] for position in shuffle.permutation(len(cut)))


def _losses(
    recommender: Recommender,
    shelf: Shelf,
    examples: TrainingExamples,
    rows: np.ndarray,
    micro_batches: int,
    ahead: int,
) -> Iterator[Tensor]:
    """The loss of each micro-batch, as its share of the mean over all rows, in order."""

    def loss(part: np.ndarray) -> Tensor:
        histories = [examples.histories[row] for row in part]
        mean = recommender.loss(histories, examples.targets[part], shelf.texts, shelf.items)
        return mean * (len(part) / len(rows))

    parts = np.array_split(rows, min(micro_batches, len(rows)))
    if ahead == 1 or len(parts) == 1:
        yield from map(loss, parts)
        return
    with ThreadPoolExecutor(ahead) as pool:
        under_way = deque(pool.submit(loss, part) for part in parts[:ahead])
        for part in parts[ahead:]:
            yield under_way.popleft().result()
            under_way.append(pool.submit(loss, part))
        yield from (future.result() for future in under_way)
