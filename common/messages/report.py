"""Node to server: what clients contribute after training, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Any, Self

from flwr.app import ConfigRecord, MetricRecord, RecordDict

from common.errors import MessageError
from common.low_rank import Adapter
from common.messages.adapter import array_record
from common.messages.fields import (
    LARGEST_COUNT,
    LONGEST_SECONDS,
    arrays,
    checked_text,
    config_of,
    group,
    listed,
    metrics_of,
    names,
    numbers,
    whole,
)
from common.messages.measurement import LARGEST_LOSS, Measurement
from common.own_share import SHARES

VALIDATION, TEST = "validation", "test"
"""Parts that every model is measured on: in each round before it trains, and at the end as it serves."""

BASELINES = ("popularity", "item_knn")
GROUNDED = {"distance": ("distance", "distance_model"), "trie": ("trie", "trie_model")}
"""What may be measured beside, of a generative recommender: by way of grounding what is served, and the model alone."""

PARTS = (VALIDATION, TEST, "model", *BASELINES, "warm_start", *(name for pair in GROUNDED.values() for name in pair))
"""``model`` is the model without the client's own evidence, ``warm_start`` a click model as it came; on test data."""

COST = (
    "parameters",
    "parameters_whole",
    "trained_parameters",
    "weights_bytes",
    "weights_bytes_whole",
    "peak_memory_bytes",
    "flops_per_step",
)
"""What a client counts of its cost."""

DETAILS: Mapping[str, tuple[tuple[str, ...], float]] = {
    "evidence": (("popularity", "neighbours", "injection"), 1e3),
    "cost": (COST, 2.0**80),
    "generation": (("exact",), 1.0),
}
"""What may be told of each client at the end, with the greatest value: weights of its own evidence, its cost, and of a
generative recommender the share of its outputs that are titles of the catalogue."""

SECONDS, TRAFFIC, MEMORY = ("evaluate", "train", "split", "outbox"), ("up", "down"), ("peak", "limit")

LARGEST_EPSILON = 1e6
"""A privacy loss beyond this says nothing."""


@dataclass(frozen=True, eq=False)
class Report:
    """One message's answer.

    Attributes
    ----------
    round : int
        Number of the round.
    clients : tuple of str
        Clients that contribute; nobody does at the end.
    contribution : Adapter
        By name the clients' trained tensors, or gradients where the model's scope takes those, [clients, ...].
    sizes : tuple of float
        Training examples or rows of each; 1 where contributions are noised.
    losses : tuple of float
        Mean training loss of each; empty where contributions are noised.
    epsilons : tuple of float
        What each client's releases have cost so far; empty without noise.
    hosted_steps : tuple of int
        Steps that each client's hosted adapter must have made.
    traffic : Mapping[str, tuple of float]
        Bytes ``up`` to hosted layers and ``down`` from them, of each.
    measured : tuple of str
        Clients that measured.
    shares : tuple of float
        Own share that each of these chose.
    measurements : Mapping[str, Measurement]
        By part, of the clients that measured. :data:`VALIDATION` is measured before the first step, on the model that
        the round began with.
    details : Mapping[str, Mapping[str, tuple of float]]
        Numbers of :data:`DETAILS`, of the clients that measured.
    left_out : Mapping[str, str]
        Reason by client that was asked and does not contribute.
    seconds : Mapping[str, float]
        Seconds of the node to ``evaluate`` and to ``train``, ``split`` of them waiting for hosted layers, and for its
        ``outbox``.
    memory : Mapping[str, float]
        ``peak`` of the process and ``limit`` of its machine or container, in bytes.
    """

    round: int
    clients: tuple[str, ...] = ()
    contribution: Adapter = field(default_factory=dict)
    sizes: Sequence[float] = ()
    losses: Sequence[float] = ()
    epsilons: Sequence[float] = ()
    hosted_steps: Sequence[int] = ()
    traffic: Mapping[str, Sequence[float]] = field(default_factory=dict)
    measured: tuple[str, ...] = ()
    shares: Sequence[float] = ()
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    details: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, float] = field(default_factory=dict)

    def to_record(self) -> RecordDict:
        config: dict[str, Any] = {
            "server-round": self.round,
            "clients": list(self.clients),
            "measured": list(self.measured),
            "left-out": list(self.left_out),
            "reasons": list(self.left_out.values()),
            "parts": list(self.measurements),
        }
        metrics: dict[str, Any] = {"sizes": list(self.sizes), "losses": list(self.losses)}
        metrics |= {"epsilons": list(self.epsilons), "hosted-steps": list(self.hosted_steps)}
        metrics["shares"] = list(self.shares)
        metrics |= {f"traffic.{way}": list(values) for way, values in self.traffic.items()}
        for name, columns in self.details.items():
            metrics |= {f"{name}.{key}": list(values) for key, values in columns.items()}
        metrics |= {f"seconds.{name}": value for name, value in self.seconds.items()}
        metrics |= {f"memory.{name}": value for name, value in self.memory.items()}
        counts: Adapter = {}
        for part, measurement in self.measurements.items():
            counts |= {f"{part}.{key}": tensor for key, tensor in measurement.tensors().items()}
            metrics |= {f"{part}.{name}": list(values) for name, values in measurement.columns.items()}
        record = RecordDict(
            {
                "arrays": array_record(self.contribution),
                "config": ConfigRecord(config),
                "metrics": MetricRecord(metrics),
            }
        )
        if counts:
            record["counts"] = array_record(counts)
        return record

    @classmethod
    def from_record(cls, record: RecordDict, kind: type[Measurement], groups: Sequence[int] = ()) -> Self:
        """Reads a report.

        Parameters
        ----------
        record : RecordDict
            What the node sent.
        kind : type[Measurement]
            Form of its measurements.
        groups : Sequence[int]
            Number of values of each grouping attribute.

        Raises
        ------
        MessageError : a record or field is missing, has another form, or holds a number out of its range.
        """
        config, metrics = config_of(record), metrics_of(record)
        clients, measured = names(config), names(config, "measured")
        if not set(clients) <= set(measured):
            raise MessageError("field 'clients' names one that has measured nothing")
        left, reasons = names(config, "left-out"), listed(config, "reasons")
        if len(left) != len(reasons):
            raise MessageError(f"fields 'left-out' and 'reasons' have {len(left)} and {len(reasons)} entries")
        counts = arrays(record, "counts") if "counts" in record.array_records else {}
        measurements = {}
        for part in listed(config, "parts"):
            if part not in PARTS or part in measurements:
                raise MessageError(f"field 'parts' holds {short(part)}", f"once each, of {', '.join(PARTS)}")
            measurements[part] = kind.read(metrics, counts, part, measured, groups)
        hosted = numbers(metrics, "hosted-steps", len(clients), 0, LARGEST_COUNT, optional=True)
        return cls(
            round=whole(config, "server-round"),
            clients=clients,
            contribution=arrays(record),
            sizes=numbers(metrics, "sizes", len(clients), 0, LARGEST_COUNT),
            losses=numbers(metrics, "losses", len(clients), 0, LARGEST_LOSS, optional=True),
            epsilons=numbers(metrics, "epsilons", len(clients), 0, LARGEST_EPSILON, optional=True),
            hosted_steps=tuple(map(_whole, hosted)),
            traffic=_columns(metrics, "traffic", TRAFFIC, len(clients), LARGEST_COUNT),
            measured=measured,
            shares=tuple(map(_offered, numbers(metrics, "shares", len(measured), 0, 1))),
            measurements=measurements,
            details={
                name: _columns(metrics, name, keys, len(measured), most) for name, (keys, most) in DETAILS.items()
            },
            left_out=dict(zip(left, [checked_text(reason, "reasons") for reason in reasons], strict=True)),
            seconds=group(metrics, "seconds", SECONDS, LONGEST_SECONDS),
            memory=group(metrics, "memory", MEMORY),
        )


def _columns(
    metrics: Mapping[str, Any], name: str, keys: Sequence[str], count: int, most: float
) -> dict[str, tuple[float, ...]]:
    """The fields ``name.key``, each one number for each of ``count`` clients; one that is not among ``keys`` is refused."""
    found = [key.removeprefix(f"{name}.") for key in metrics if key.startswith(f"{name}.")]
    unknown = sorted(set(found) - set(keys))
    if unknown:
        raise MessageError(f"field {short(f'{name}.{unknown[0]}')} is unknown", f"{name!r} has {', '.join(keys)}")
    return {key: numbers(metrics, f"{name}.{key}", count, 0, most) for key in keys if key in found}


def _whole(value: float) -> int:
    if value != int(value):
        raise MessageError(f"field 'hosted-steps' holds {value!r}, which is no count")
    return int(value)


def _offered(share: float) -> float:
    if share not in (0.0, *SHARES):
        raise MessageError(f"field 'shares' holds {share!r}, which was not offered", f"own shares are 0 and {SHARES}")
    return share
