"""The partition of a data set: one shard a client, each a complete folder, made once and then only listed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from common.data.coverage import Coverage
from common.data.dataset import Dataset
from common.data.interactions import Interactions
from common.data.manifest import SHARDS, digest_in
from common.data.partitioners import check_partition, partition
from common.data.place import placed
from common.data.sets import check_name
from common.data.split import check_split, split
from common.errors import DataError

__all__ = ["Sharding", "partition", "partitioned", "shards"]

LISTING = "shards.json"


@dataclass(frozen=True)
class Sharding:
    """How a data set is split in time and shared out over clients.

    Parameters
    ----------
    how, clients, seed, alpha : see ``common.data.partitioners.partition``.
    split, fractions : see ``common.data.split.split``; done on the whole set, so that all clients share its moments.
    own_catalogue : each client's catalogue holds only the items that its users met, else everybody has the whole one.
    """

    how: str = "kmeans"
    clients: int = 5
    seed: int = 0
    alpha: float = 0.5
    split: str = "leave-last-out"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    own_catalogue: bool = False

    def __post_init__(self) -> None:
        check_partition(self.how, self.clients, self.alpha)
        check_split(self.split, self.fractions)

    def digest(self, dataset_digest: str) -> str:
        """What tells one sharding of one data set from every other: 32 hex digits."""
        text = json.dumps([dataset_digest, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def shards(folder: Path, spec: Sharding, out_root: Path) -> list[tuple[str, Path]]:
    """Client keys and folders of the shards of a prepared data set, in order; written where they are not there yet.

    They lie in ``out_root/<name>/shards/<digest>/<client key>/``, each a complete data set with its parts. Several
    processes may ask at once: all write beside the place, the first to finish takes it, the others drop theirs.
    """
    name, digest = digest_in(folder)
    place = out_root / check_name(name) / SHARDS / spec.digest(digest)
    if not (place / LISTING).is_file():
        with placed(place) as building:
            _write(Dataset.load(folder), spec, building)
    try:
        keys = json.loads((place / LISTING).read_text(encoding="utf-8"))["clients"]
        return [(key, place / key) for key in keys]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"damaged shards in {str(place)!r}: {error}", "delete that folder; it is made anew") from error


def partitioned(dataset: Dataset, spec: Sharding) -> Iterator[Dataset]:
    """The data set of each client, in order, named by its client key.

    Raises DataError where nobody of the whole set can be tested, or learned from.
    """
    parts = split(dataset.interactions, spec.split, spec.fractions)
    Coverage.of(dataset.interactions, parts).check(dataset.name, spec.split)
    whole = replace(dataset, parts=parts, split=spec.split)
    belongs = partition(whole, spec.how, spec.clients, spec.seed, spec.alpha)
    clients = int(belongs.max(initial=-1)) + 1
    width = len(str(clients - 1))
    order = np.argsort(belongs, kind="stable")
    starts = np.searchsorted(belongs[order], np.arange(clients + 1))
    for client in range(clients):
        shard = whole.restrict(order[starts[client] : starts[client + 1]], f"{dataset.name}-{client:0{width}d}")
        yield _own_catalogue(shard) if spec.own_catalogue else shard


def _own_catalogue(shard: Dataset) -> Dataset:
    known = shard.interactions
    met, items = np.unique(known.items, return_inverse=True)
    interactions = Interactions(known.user_keys, known.users, items.astype(np.int32), known.times)
    return replace(shard, catalogue=shard.catalogue.subset(met), interactions=interactions)


def _write(dataset: Dataset, spec: Sharding, place: Path) -> None:
    keys: list[str] = []
    for shard in partitioned(dataset, spec):
        same = place / keys[0] if keys and not spec.own_catalogue else None
        shard.save(place / shard.name, same_catalogue=same)
        keys.append(shard.name)
    listing = {"sharding": asdict(spec), "dataset": dataset.digest, "clients": keys}
    (place / LISTING).write_text(json.dumps(listing, indent=1), encoding="utf-8")
