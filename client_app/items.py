"""A client's item matrix: its catalogue through the model; private, never federated.

An encoder's is made by what is trained: stage 1 encodes the catalogue anew whenever a round needs it; from
``train.freeze-items-from`` on (stage 2) the matrix of the first frozen round stays, and only the user side goes on moving
(RecFormer, arXiv 2305.13731). Frozen from round 1 on it is what the untrained model makes of the catalogue, and can be made
anew at any time; frozen from a later round on it is nowhere but in the client's memory. A generative recommender's is made
by the base model, and so stays for good.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from client_app.holding import Holding
from client_app.memory import Memory
from common.config import RunConfig
from common.errors import RunError
from common.models import resolve
from common.recommenders.build import origin
from common.recommenders.recommender import Index, Recommender
from common.recommenders.state import load_trained, trained_state

log = logging.getLogger("flwr")

Base = Callable[[], AbstractContextManager[None]]
"""What, entered, makes layers elsewhere compute without adapters."""


@dataclass
class Shelf:
    """A holding with its catalogue as the recommender reads it: item texts, and this round's item matrix [n, H]."""

    holding: Holding
    texts: Index
    items: Tensor


class Frozen(Enum):
    """Where a matrix that is frozen from a later round than the first comes from."""

    NOW = "this round freezes it"
    LATE = "memory; a client that joined after that round has none, and freezes its own"
    KEPT = "memory, where the client was there in that round"


def frozen_in(config: RunConfig, round_number: int) -> bool:
    """Whether the item matrix is frozen in this round (rounds count from 1)."""
    return 0 < config.train.freeze_items_from <= round_number


def frozen_for(config: RunConfig, round_number: int, contributed: int, training: bool) -> Frozen:
    """Where the frozen matrix of a round comes from: who contributed before (``contributed``, 0: never) has one to remember."""
    if training and round_number == config.train.freeze_items_from:
        return Frozen.NOW
    return Frozen.KEPT if contributed else Frozen.LATE


def item_matrix(
    recommender: Recommender,
    texts: Index,
    holding: Holding,
    memory: Memory,
    config: RunConfig,
    round_number: int,
    base: Base = nullcontext,
    frozen: Frozen = Frozen.KEPT,
) -> Tensor:
    """The item matrix of a round, [n_items, H].

    What an untrained model makes of a catalogue is the same for everybody and every run, so that is kept by content.

    Raises
    ------
    RunError : the matrix is frozen from a later round than the first, and this client, which had it, has lost it.
    """
    if not recommender.items_are_trained or config.train.freeze_items_from == 1:
        return _untrained(recommender, texts, memory.shared(), config, base)
    told = {"catalogue": torch.frombuffer(bytearray.fromhex(texts.digest), dtype=torch.uint8)}
    if not frozen_in(config, round_number):
        if config.train.freeze_items_from:
            # so that whoever misses the round that freezes it is not taken for one that has lost it
            memory.save(_name(holding.client), told)
        if round_number <= 1:
            return _by_content(recommender, texts, memory.shared(), config, _digest(trained_state(recommender)))
        return recommender.encode_items(texts, config.evaluate.batch_size)
    if frozen is not Frozen.NOW:
        kept = remembered(memory, holding.client, texts)
        if kept is not None:
            return kept
        if frozen is Frozen.KEPT and memory.load(_name(holding.client)) is None:
            raise lost(holding.client, config)
        log.warning(
            "client %s has no item matrix yet: the one of round %d is made now, for good; others froze theirs in round %d",
            holding.client,
            round_number,
            config.train.freeze_items_from,
        )
    matrix = recommender.encode_items(texts, config.evaluate.batch_size)
    memory.save(_name(holding.client), told | {"items": matrix})
    return matrix


def remembered(memory: Memory, client: str, texts: Index | None = None) -> Tensor | None:
    """The frozen matrix [n_items, H] that a client keeps; None where it keeps none.

    Parameters
    ----------
    texts : the catalogue that it is to be of; None takes any.

    Raises
    ------
    RunError : it is of another catalogue. DataError : the file is damaged.
    """
    kept = memory.load(_name(client))
    if kept is None:
        return None
    found = bytes(kept["catalogue"].tolist()).hex() if "catalogue" in kept else "unknown"
    if texts is not None and found != texts.digest:
        raise RunError(
            f"client {client!r} keeps the item matrix of a catalogue of digest {found[:16]!r}, its catalogue's is"
            f" {texts.digest[:16]!r}",
            "give the client the catalogue that it trained with, or start a new run",
        )
    return kept.get("items")


def lost(client: str, config: RunConfig) -> RunError:
    """What to say where :func:`remembered` finds nothing and nothing can take its place."""
    first = config.train.freeze_items_from
    return RunError(
        f"client {client!r} has lost its item matrix, which is frozen since round {first!r}: the model that made it is gone",
        "restore the folder clients/RUN/CLIENT of the client's $FELLREC_HOME from a backup, or start a new run; with"
        " 'train.freeze-items-from' = 1 it could be made anew",
    )


def _name(client: str) -> str:
    return f"items-{client}"


def _untrained(recommender: Recommender, texts: Index, shelf: Memory, config: RunConfig, base: Base) -> Tensor:
    """What the model makes of the catalogue before any training, whatever the round."""
    if not recommender.items_are_trained:
        return _by_content(recommender, texts, shelf, config, "base")
    return _by_content(recommender, texts, shelf, config, "base", lambda: _at_origin(recommender, config, base))


@contextmanager
def _at_origin(recommender: Recommender, config: RunConfig, base: Base) -> Iterator[None]:
    """Within it, the recommender is what :func:`~common.recommenders.build.origin` makes."""
    trained = trained_state(recommender)
    start = origin(config.model, config.seed, config.generate, config.fedpa)
    load_trained(recommender, {name: start[name] for name in trained})
    try:
        with base():
            yield
    finally:
        load_trained(recommender, trained)


def _by_content(
    recommender: Recommender, texts: Index, shelf: Memory, config: RunConfig, state: str, within: Base = nullcontext
) -> Tensor:
    """The matrix, made ``within`` a context where nobody has kept it yet; told by everything that it is made of."""
    layers = config.split.model_dump_json(include={"on", "k", "m", "codec", "batch_clients"})
    made = f"{config.model.model_dump_json()} {config.generate.embedding} {layers} {config.evaluate.batch_size} {state}"
    digest = hashlib.sha256(made.encode())
    for path in sorted(resolve(config.model.name).glob("*.safetensors")):
        digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    digest.update(texts.digest.encode())
    name = f"items-{digest.hexdigest()[:32]}"
    kept = shelf.load(name)
    if kept is not None:
        return kept["items"]
    with within():
        matrix = recommender.encode_items(texts, config.evaluate.batch_size)
    shelf.save(name, {"items": matrix})
    return matrix


def _digest(state: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for tensor in state.values():
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()
