"""What server and nodes say where one user is one client: one message a round carries all clients of a node.

Shared and group tensors go out once, and come back stacked [clients, ...], one upload for each client. A node with one user
is the case of one. Flower's records are made and read here, in :mod:`common.messages` and
:mod:`common.record_fields`, and nowhere else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from reprlib import repr as short
from typing import Any, Self

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from torch import Tensor

from common.click_counts import STEPS, ClickCounts
from common.errors import MessageError
from common.low_rank import Adapter
from common.messages import LARGEST_LOSS, MOST_CLIENTS
from common.record_fields import (
    LARGEST_COUNT,
    LONGEST_SECONDS,
    arrays,
    checked_text,
    config_of,
    group,
    metrics_of,
    names,
    numbers,
    text,
    whole,
)

RANGES = {
    "auc": (-1.0, 1.0),
    "logloss": (0.0, LARGEST_LOSS),
    "precision": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "f1": (0.0, 1.0),
    "rows": (0, LARGEST_COUNT),
}
"""The range of each of a client's metrics; an AUC that does not exist (one class only) travels as -1."""

CLIENT_METRICS = tuple(RANGES)
"""What is told of each client."""

LARGEST_EPSILON = 1e6
"""A privacy loss beyond this says nothing."""

PARTS = ("valid", "test", "warm")
SECONDS = ("evaluate", "train", "outbox")


@dataclass(frozen=True)
class SetFacts:
    """What a node tells of the log that its clients' rows are from: sums over its clients, and digests; never content.

    Of the ``interactions``, ``repeated`` have the user, the item and the moment of another.
    """

    dataset: str
    digest: str
    vocabulary: str
    items: int
    interactions: int
    train_interactions: int
    generated: bool
    split: str
    repeated: int = 0


@dataclass(frozen=True, eq=False)
class CrowdRoster:
    """Node to server: its clients, and for each the value (code) of every grouping attribute, int64 [clients, attributes]."""

    app: str
    simulated: bool
    facts: SetFacts
    clients: tuple[str, ...]
    codes: Tensor

    def to_record(self) -> RecordDict:
        config = {"app": self.app, "simulated": self.simulated, "clients": list(self.clients), **asdict(self.facts)}
        return RecordDict({"config": ConfigRecord(config), "arrays": ArrayRecord(OrderedDict(codes=self.codes))})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        config = config_of(record)
        texts = {name: text(config, name) for name in ("dataset", "digest", "vocabulary", "split")}
        counts = {name: whole(config, name) for name in ("items", "interactions", "train_interactions", "repeated")}
        clients = names(config)
        if len(clients) > MOST_CLIENTS:
            raise MessageError(f"roster: {len(clients)} clients of one node, {MOST_CLIENTS} is the most")
        if not counts["train_interactions"] <= counts["interactions"]:
            raise MessageError(f"roster: more training interactions than interactions: {counts!r}")
        codes = arrays(record).get("codes")
        if codes is None or codes.dtype != torch.int64 or codes.ndim != 2 or len(codes) != len(clients):
            raise MessageError("roster: record 'codes' is not one row of group codes for each client")
        facts = SetFacts(**texts, **counts, generated=config.get("generated") is True)
        return cls(text(config, "app"), config.get("simulated") is True, facts, clients, codes)


@dataclass(frozen=True, eq=False)
class CrowdTask:
    """Server to node: let these clients train from (or measure) this model.

    Attributes
    ----------
    shared : tensors that are one for all clients.
    tables : group tensors by name, [values, ...], with a row for each of ``codes`` of their attribute, in that order.
    codes : by attribute, the values that occur among the node's clients.
    """

    app: str
    run: str
    round: int
    clients: tuple[str, ...]
    shared: Adapter
    tables: Adapter
    codes: Mapping[str, Sequence[int]]

    def to_record(self) -> RecordDict:
        config: dict[str, Any] = {"app": self.app, "run": self.run, "server-round": self.round}
        config |= {"clients": list(self.clients), "tables": sorted(self.tables)}
        config |= {f"codes.{attribute}": list(codes) for attribute, codes in self.codes.items()}
        sent = ArrayRecord(OrderedDict(self.shared | self.tables))
        return RecordDict({"arrays": sent, "config": ConfigRecord(config)})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        config, found = config_of(record), arrays(record)
        tables = set(config.get("tables", []))
        codes = {key.removeprefix("codes."): tuple(config[key]) for key in config if key.startswith("codes.")}
        if not tables <= found.keys():
            raise MessageError(f"task has no table {sorted(tables - found.keys())[0]!r}")
        return cls(
            app=text(config, "app"),
            run=text(config, "run"),
            round=whole(config, "server-round"),
            clients=names(config),
            shared={name: tensor for name, tensor in found.items() if name not in tables},
            tables={name: tensor for name, tensor in found.items() if name in tables},
            codes=codes,
        )


@dataclass(frozen=True, eq=False)
class CrowdScores:
    """How well clicks are told: counts by value of each grouping attribute, and every client's own metrics.

    Attributes
    ----------
    counts : of all clients' rows; groups are the attributes' values, one attribute after the other.
    clients : by metric of :data:`CLIENT_METRICS`, one number for each client of the report.
    """

    counts: ClickCounts
    clients: Mapping[str, Sequence[float]]


@dataclass(frozen=True, eq=False)
class CrowdReport:
    """Node to server: what its clients upload after training, or what they measured at the end.

    Attributes
    ----------
    clients : those who report; ``left_out`` are the others, with a reason each.
    upload : by name the clients' gradients, [clients, ...]; empty where nothing leaves, or at the end.
    weights : of each client's upload in a mean: its training rows, or 1 where the upload is noised.
    losses : of each client's training rows; empty where the upload is noised.
    epsilons : what each client's releases have cost so far; empty without noise.
    scores : by part (``valid``, ``test``, and ``warm``: the warm start on test rows); a client's metrics are those of
        ``measured``, in its order.
    measured : whose metrics the scores hold.
    """

    round: int
    clients: tuple[str, ...]
    upload: Adapter
    weights: Sequence[float]
    losses: Sequence[float]
    epsilons: Sequence[float]
    scores: Mapping[str, CrowdScores]
    measured: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int = 0

    def to_record(self) -> RecordDict:
        config = {
            "server-round": self.round, "clients": list(self.clients), "measured": list(self.measured),
            "left-out": list(self.left_out), "reasons": list(self.left_out.values()), "parts": list(self.scores),
        }  # fmt: skip
        metrics: dict[str, Any] = {"peak-memory": self.peak_memory, "weights": list(self.weights)}
        metrics |= {"losses": list(self.losses), "epsilons": list(self.epsilons)}
        metrics |= {f"seconds.{name}": value for name, value in self.seconds.items()}
        counts: dict[str, Tensor] = {}
        for part, scores in self.scores.items():
            counts |= {f"{part}.{key}": tensor for key, tensor in _sparse(scores.counts).items()}
            metrics |= {f"{part}.{name}": list(scores.clients[name]) for name in CLIENT_METRICS}
        return RecordDict({
            "arrays": ArrayRecord(OrderedDict(self.upload)), "counts": ArrayRecord(OrderedDict(counts)),
            "config": ConfigRecord(config), "metrics": MetricRecord(metrics),
        })  # fmt: skip

    @classmethod
    def from_record(cls, record: RecordDict, groups: int) -> Self:
        """Read a report whose counts are of so many groups.

        Raises
        ------
        MessageError : a record or field is missing, has another form, or holds a number that is not finite.
        """
        config, metrics = config_of(record), metrics_of(record)
        clients, measured = names(config), names(config, "measured")
        left, reasons = names(config, "left-out"), list(config.get("reasons", []))
        if len(left) != len(reasons):
            raise MessageError(f"fields 'left-out' and 'reasons' have {len(left)} and {len(reasons)} entries")
        reasons = [checked_text(reason, "reasons") for reason in reasons]
        counts, scores = arrays(record, "counts"), {}
        for part in config.get("parts", []):
            if part not in PARTS or part in scores:
                raise MessageError(f"field 'parts' holds {short(part)}", f"once each, of {', '.join(PARTS)}")
            own = {name: numbers(metrics, f"{part}.{name}", len(measured), *RANGES[name]) for name in CLIENT_METRICS}
            scores[part] = CrowdScores(_dense(counts, part, groups), _checked(part, own))
        return cls(
            round=whole(config, "server-round"),
            clients=clients,
            upload=arrays(record),
            weights=numbers(metrics, "weights", len(clients), 0, LARGEST_COUNT),
            losses=numbers(metrics, "losses", len(clients), 0, LARGEST_LOSS, optional=True),
            epsilons=numbers(metrics, "epsilons", len(clients), 0, LARGEST_EPSILON, optional=True),
            scores=scores,
            measured=measured,
            left_out=dict(zip(left, reasons, strict=True)),
            seconds=group(metrics, "seconds", SECONDS, LONGEST_SECONDS),
            peak_memory=whole(metrics, "peak-memory"),
        )


def _sparse(counts: ClickCounts) -> dict[str, Tensor]:
    """Most steps are empty: places and numbers of the others."""
    flat = counts.rows.ravel()
    places = np.flatnonzero(flat)
    return {
        "places": torch.from_numpy(places), "rows": torch.from_numpy(flat[places]),
        "loss": torch.from_numpy(np.asarray(counts.loss, dtype=np.float64)),
    }  # fmt: skip


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


def _checked(part: str, own: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    for value in own["auc"]:
        if value < 0 and value != -1:
            raise MessageError(f"field '{part}.auc' holds {value!r}, neither a share nor -1")
    return own
