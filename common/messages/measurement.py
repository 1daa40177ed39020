"""How good recommenders are on a part of their clients' data: rankings of a catalogue, or counts of clicks.

Both are columns of numbers, one for each client; they differ in their metrics and in how those of many clients become one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from common.errors import MessageError
from common.evaluation.click_counts import STEPS, ClickCounts
from common.evaluation.rankings import METRICS, weighted
from common.messages.fields import LARGEST_COUNT, numbers

LARGEST_LOSS = 1e6
"""A loss beyond this is nonsense: cross entropy over any catalogue is far below."""


@dataclass(frozen=True, eq=False)
class Measurement(ABC):
    """Of one part, by one model.

    Attributes
    ----------
    clients : tuple of str
        Clients that measured.
    columns : Mapping[str, tuple of float]
        Value of each metric and of the size, by name, one for each client.
    """

    RANGES: ClassVar[Mapping[str, tuple[float, float]]]
    """Least and greatest value of every column."""
    SIZE: ClassVar[str]
    """Column that says how much a client's numbers are the mean of."""
    PRIMARY: ClassVar[str]
    """Metric by which rounds are compared; higher is better."""

    clients: tuple[str, ...]
    columns: Mapping[str, tuple[float, ...]]

    @abstractmethod
    def means(self) -> dict[str, Any]:
        """The metrics of all clients together; empty where nobody had anything to measure."""

    @abstractmethod
    def primary(self) -> dict[str, float]:
        """The primary metric of every client that has one."""

    @classmethod
    @abstractmethod
    def chance(cls, items: int) -> float:
        """The loss of a guess, in nats: losses of clients with other catalogues are compared by it."""

    @classmethod
    def joined(cls, found: Sequence[Self]) -> Self:
        """The measurements of different clients as one, in the order of their names."""
        clients = [client for one in found for client in one.clients]
        order = sorted(range(len(clients)), key=clients.__getitem__)
        columns = {name: [value for one in found for value in one.columns[name]] for name in cls.RANGES}
        return replace(
            found[0],
            clients=tuple(clients[place] for place in order),
            columns={name: tuple(column[place] for place in order) for name, column in columns.items()},
        )

    def of(self, client: str) -> dict[str, float]:
        """One client's columns."""
        place = self.clients.index(client)
        return {name: column[place] for name, column in self.columns.items()}

    def rows(self) -> dict[str, dict[str, float]]:
        """Every client's columns."""
        each = zip(*self.columns.values(), strict=True)
        return {
            client: dict(zip(self.columns, row, strict=True)) for client, row in zip(self.clients, each, strict=True)
        }

    def sizes(self) -> dict[str, int]:
        """Every client's size."""
        return dict(zip(self.clients, map(int, self.columns[self.SIZE]), strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """What travels beside the columns."""
        return {}

    @classmethod
    def read(
        cls,
        metrics: Mapping[str, Any],
        found: Mapping[str, Tensor],
        part: str,
        clients: tuple[str, ...],
        groups: Sequence[int],
    ) -> Self:
        """Reads the measurement of a part.

        Parameters
        ----------
        metrics : Mapping[str, Any]
            Fields of the record, ``PART.COLUMN``.
        found : Mapping[str, Tensor]
            Tensors of the record ``counts``, ``PART.NAME``.
        part : str
            Name of the part.
        clients : tuple of str
            Clients that measured.
        groups : Sequence[int]
            Number of values of each grouping attribute.

        Raises
        ------
        MessageError : a column is missing or out of its range.
        """
        columns = {
            name: numbers(metrics, f"{part}.{name}", len(clients), *within) for name, within in cls.RANGES.items()
        }
        for value in columns[cls.SIZE]:
            if value != int(value):
                raise MessageError(f"field '{part}.{cls.SIZE}' holds {value!r}, which is no count")
        return cls(clients, columns)


@dataclass(frozen=True, eq=False)
class Rankings(Measurement):
    """Full rankings of a catalogue: means over each client's users."""

    RANGES = dict.fromkeys(METRICS, (0.0, 1.0)) | {"users": (0, LARGEST_COUNT)}
    SIZE, PRIMARY = "users", "recall@10"

    def means(self) -> dict[str, Any]:
        counted = {client: row for client, row in self.rows().items() if row["users"]}
        if not counted:
            return {}
        values = {client: {name: row[name] for name in METRICS} for client, row in counted.items()}
        return weighted(values, {client: int(row["users"]) for client, row in counted.items()})

    def primary(self) -> dict[str, float]:
        return {client: row[self.PRIMARY] for client, row in self.rows().items() if row["users"]}

    @classmethod
    def chance(cls, items: int) -> float:
        return float(np.log(max(2, items)))


@dataclass(frozen=True, eq=False)
class Clicks(Measurement):
    """How well clicks are foretold: each client's own metrics, and counts from which those of all rows follow.

    An AUC that does not exist (one class only) travels as -1.

    Attributes
    ----------
    counts : ClickCounts
        Rows of all clients; groups are the grouping attributes' values, one attribute after the other.
    groups : tuple of int
        Number of values of each attribute.
    """

    RANGES = {
        "auc": (-1.0, 1.0),
        "logloss": (0.0, LARGEST_LOSS),
        "precision": (0.0, 1.0),
        "recall": (0.0, 1.0),
        "f1": (0.0, 1.0),
        "rows": (0, LARGEST_COUNT),
    }
    SIZE, PRIMARY = "rows", "auc"

    counts: ClickCounts
    groups: tuple[int, ...]

    def means(self) -> dict[str, Any]:
        # every row counts once for each attribute
        found = self.counts.of(slice(0, self.groups[0]))
        if found is None:
            return {}
        own = list(self.primary().values())
        return {**found, "user_auc": float(np.mean(own)) if own else None}

    def primary(self) -> dict[str, float]:
        return {client: auc for client, auc in zip(self.clients, self.columns["auc"], strict=True) if auc >= 0}

    @classmethod
    def chance(cls, items: int) -> float:
        return float(np.log(2))

    @classmethod
    def joined(cls, found: Sequence[Self]) -> Self:
        first, *others = found
        counts = sum((other.counts for other in others), first.counts)
        return replace(super().joined(found), counts=counts)

    def tensors(self) -> dict[str, Tensor]:
        flat = self.counts.rows.ravel()
        # most steps are empty: places and numbers of the others
        places = np.flatnonzero(flat)
        return {
            "places": torch.from_numpy(places),
            "rows": torch.from_numpy(flat[places]),
            "loss": torch.from_numpy(np.asarray(self.counts.loss, dtype=np.float64)),
        }

    @classmethod
    def read(
        cls,
        metrics: Mapping[str, Any],
        found: Mapping[str, Tensor],
        part: str,
        clients: tuple[str, ...],
        groups: Sequence[int],
    ) -> Self:
        columns = {
            name: numbers(metrics, f"{part}.{name}", len(clients), *within) for name, within in cls.RANGES.items()
        }
        for value in columns["auc"]:
            if value < 0 and value != -1:
                raise MessageError(f"field '{part}.auc' holds {value!r}, neither a share nor -1")
        return cls(clients, columns, _dense(found, part, sum(groups)), tuple(groups))

    def most_rows(self) -> int:
        """Rows that the counts are of, at most, however they are added up."""
        of_first = int(self.counts.rows[: self.groups[0]].sum())
        return max(of_first, int(self.counts.rows.sum()) // len(self.groups), int(sum(self.columns["rows"])))


def joined(found: Iterable[Mapping[str, Measurement]]) -> dict[str, Measurement]:
    """The measurements of different clients by part."""
    parts: dict[str, list[Measurement]] = {}
    for one in found:
        for part, measurement in one.items():
            parts.setdefault(part, []).append(measurement)
    return {part: type(each[0]).joined(each) for part, each in parts.items()}


def _dense(found: Mapping[str, Tensor], part: str, groups: int) -> ClickCounts:
    places, counted, loss = (found.get(f"{part}.{key}") for key in ("places", "rows", "loss"))
    if places is None or counted is None or loss is None:
        raise MessageError(f"report has no counts of part {part!r}")
    size = groups * 2 * STEPS
    fits = places.dtype == counted.dtype == torch.int64 and places.ndim == 1 and places.shape == counted.shape
    if not fits or loss.dtype != torch.float64 or loss.shape != (groups,) or not torch.isfinite(loss).all():
        raise MessageError(f"counts of part {part!r} have another form than {groups} groups give")
    if len(places) and not (
        0 <= int(places.min())
        and int(places.max()) < size
        and len(places.unique()) == len(places)
        and 0 <= int(counted.min()) <= int(counted.max()) < LARGEST_COUNT
    ):
        raise MessageError(f"counts of part {part!r} lie outside their range")
    rows = np.zeros(size, dtype=np.int64)
    rows[places.numpy()] = counted.numpy()
    return ClickCounts(rows.reshape(groups, 2, STEPS), loss.numpy())
