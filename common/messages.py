"""What server and clients say to each other: Flower's records are made and read here and nowhere else.

Per round and client one message goes out and one comes back. Each has at most the records that Flower's own tools
expect (``arrays``, ``config``, ``metrics``); a client's own last adapter travels as ``own``, beside the mix.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from reprlib import repr as short
from typing import Any, Self

import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from common.data.sets import POOL, check_name
from common.errors import FellrecError, MessageError
from common.low_rank import Adapter
from common.metrics import METRICS
from common.own_share import SHARES
from common.record_fields import (
    LARGEST_COUNT,
    LONGEST_SECONDS,
    arrays,
    checked_text,
    config_of,
    group,
    metrics_of,
    number,
    text,
    whole,
)

LARGEST_LOSS = 1e6
"""A training loss beyond this is nonsense: cross entropy over any catalogue is far below."""

LARGEST_VALUE = 1e8
"""A value of an adapter beyond this is nonsense, and so far below float32's end that its square still fits."""

LONGEST_ROW = 4096
"""Characters of one client's row in a roster, at most."""

MOST_CLIENTS = 100_000
"""Clients of one node, at most."""

COST = (
    "parameters", "parameters_whole", "trained_parameters", "weights_bytes", "weights_bytes_whole", "peak_memory_bytes",
    "flops_per_step",
)  # fmt: skip
"""What a client counts of its cost."""

LARGEST_COST = 2.0**80
"""Operations of a step on the largest model are far below."""

SECONDS, TRAFFIC, MEMORY = ("evaluate", "train", "split"), ("up", "down"), ("peak", "limit")
"""What a client tells of its seconds, of the bytes to and from hosted layers, and of its memory."""

EVIDENCE, LARGEST_EVIDENCE = ("popularity", "neighbours", "injection"), 1e3
"""The weights of a client's own evidence, and what each may be at most."""


@dataclass(frozen=True)
class ClientFacts:
    """What a client tells of its data: its set's name, counts, and digests of the whole and of the catalogue; never content.

    Of ``users``, ``test_users`` can be tested; ``met_before`` had all their test items before.
    """

    client: str
    dataset: str
    catalogue: str
    digest: str
    users: int
    items: int
    interactions: int
    train_interactions: int
    generated: bool
    split: str
    test_users: int = 0
    met_before: int = 0


@dataclass(frozen=True)
class Hello:
    """Server to node, once: which fellrec is this, and whom does the node host?"""

    app: str

    def to_record(self) -> RecordDict:
        return RecordDict({"config": ConfigRecord({"app": self.app})})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        return cls(app=text(config_of(record), "app"))


@dataclass(frozen=True)
class Roster:
    """Node to server: the clients that the node hosts."""

    app: str
    simulated: bool
    clients: tuple[ClientFacts, ...]

    def to_record(self) -> RecordDict:
        rows = [json.dumps(asdict(facts)) for facts in self.clients]
        return RecordDict({"config": ConfigRecord({"app": self.app, "simulated": self.simulated, "clients": rows})})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        config = config_of(record)
        rows = config.get("clients", [])
        if not isinstance(rows, list) or len(rows) > MOST_CLIENTS:
            raise MessageError(f"roster: field 'clients' is no list of at most {MOST_CLIENTS} rows")
        try:
            facts = tuple(_typed(ClientFacts, _row(row)) for row in rows)
        except (TypeError, ValueError, FellrecError, RecursionError) as error:
            raise MessageError(f"roster: field 'clients' cannot be read: {error!s:.200}") from error
        return cls(app=text(config, "app"), simulated=config.get("simulated") is True, clients=facts)


@dataclass(frozen=True)
class Doors:
    """Where a client finds the hosted layers in one round: an address, and a token per own share that it may choose."""

    address: str
    tokens: Mapping[float, str]


@dataclass(frozen=True)
class Task:
    """Server to client: start from this adapter, and train (or measure) with it.

    ``adapter`` is what the server mixed for this client; ``own``, where given, is what the client itself sent last:
    the client may move towards it, as far as its validation data bear it out. ``doors`` lead to the hosted layers, with the
    hosted part of each such step; None where the client runs the whole model.
    """

    app: str
    run: str
    client: str
    round: int
    adapter: Adapter
    own: Adapter | None = None
    learning_rate: float = 0.0
    doors: Doors | None = None

    def to_record(self) -> RecordDict:
        config = {"app": self.app, "run": self.run, "client": self.client, "server-round": self.round}
        record = RecordDict({"arrays": _arrays(self.adapter), "config": ConfigRecord(config)})
        record["config"]["learning-rate"] = self.learning_rate
        if self.own is not None:
            record["own"] = _arrays(self.own)
        if self.doors is not None:
            record["config"]["split-address"] = self.doors.address
            record["config"]["split-shares"] = list(self.doors.tokens)
            record["config"]["split-tokens"] = list(self.doors.tokens.values())
        return record

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        config = config_of(record)
        return cls(
            app=text(config, "app"),
            run=text(config, "run"),
            client=text(config, "client"),
            round=int(number(config, "server-round")),
            adapter=arrays(record, "arrays"),
            own=arrays(record, "own") if "own" in record.array_records else None,
            learning_rate=number(config, "learning-rate"),
            doors=_doors(config) if "split-address" in config else None,
        )


@dataclass(frozen=True)
class Ranking:
    """Ranking metrics of one recommender on one client; ``users`` tells how many users they are the mean of."""

    users: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class TrainReport:
    """Client to server after local training.

    ``validation`` was measured before the first step, on the model that the round began with; ``share`` is the own
    share that the client chose for it; ``split_bytes`` went ``up`` to the hosted layers and came ``down`` from them.
    ``seconds`` were spent to ``evaluate`` and to ``train``, ``split`` of them waiting for hosted layers; ``memory`` is the
    ``peak`` of the process and the ``limit`` of its machine or container, in bytes; ``hosted_steps`` is how many steps the
    hosted layers' adapter must have made.
    """

    client: str
    round: int
    adapter: Adapter
    loss: float
    examples: int
    share: float
    validation: Ranking
    seconds: Mapping[str, float]
    split_bytes: Mapping[str, float]
    memory: Mapping[str, float] = field(default_factory=dict)
    hosted_steps: int = 0

    def to_record(self) -> RecordDict:
        metrics = {"loss": self.loss, "num-examples": self.examples, "share": self.share}
        metrics["hosted-steps"] = self.hosted_steps
        metrics |= _named("validation", self.validation) | _grouped(self, "seconds", "split_bytes", "memory")
        config = ConfigRecord({"client": self.client, "server-round": self.round})
        return RecordDict({"arrays": _arrays(self.adapter), "metrics": MetricRecord(metrics), "config": config})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        config, metrics = config_of(record), metrics_of(record)
        return cls(
            client=text(config, "client"),
            round=int(number(config, "server-round")),
            adapter=arrays(record, "arrays"),
            loss=number(metrics, "loss", 0, LARGEST_LOSS),
            examples=whole(metrics, "num-examples"),
            share=_share(metrics),
            validation=_ranking(metrics, "validation"),
            seconds=group(metrics, "seconds", SECONDS, LONGEST_SECONDS),
            split_bytes=group(metrics, "split_bytes", TRAFFIC),
            memory=group(metrics, "memory", MEMORY),
            hosted_steps=whole(metrics, "hosted-steps"),
        )


RANKINGS = ("test", "model", "validation", "popularity", "item_knn")
"""What is ranked at the end: what is served, the model without the client's own evidence, and the baselines, on test users;
and the model on validation users."""

GROUNDED = {"distance": ("distance", "distance_model"), "trie": ("trie", "trie_model")}
"""What may be ranked beside, of a generative recommender: by way of grounding what is served, and the model alone."""


@dataclass(frozen=True)
class EvaluateReport:
    """Client to server at the end: the final model and the baselines on the client's test users, and what it cost.

    ``generation`` tells of a generative recommender: ``exact``, the share of its outputs that are titles of the catalogue.
    """

    client: str
    round: int
    share: float
    rankings: Mapping[str, Ranking]
    evidence: Mapping[str, float]
    seconds: Mapping[str, float]
    cost: Mapping[str, float]
    generation: Mapping[str, float] = field(default_factory=dict)

    def to_record(self) -> RecordDict:
        metrics: dict[str, Any] = {"share": self.share}
        for name, ranking in self.rankings.items():
            metrics |= _named(name, ranking)
        metrics |= _grouped(self, "evidence", "seconds", "cost", "generation")
        config = ConfigRecord({"client": self.client, "server-round": self.round})
        return RecordDict({"metrics": MetricRecord(metrics), "config": config})

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        config, metrics = config_of(record), metrics_of(record)
        return cls(
            client=text(config, "client"),
            round=int(number(config, "server-round")),
            share=_share(metrics),
            rankings={name: _ranking(metrics, name) for name in _ranked(metrics)},
            evidence=group(metrics, "evidence", EVIDENCE, LARGEST_EVIDENCE),
            seconds=group(metrics, "seconds", SECONDS, LONGEST_SECONDS),
            cost=group(metrics, "cost", COST, LARGEST_COST, optional=False),
            generation=group(metrics, "generation", ("exact",), 1.0),
        )


def check_adapter(adapter: Adapter, like: Adapter, sender: str) -> None:
    """Refuses an adapter whose names, shapes or values are not what they must be.

    Raises
    ------
    MessageError : naming the sender, the tensor and what is wrong with it.
    """
    if adapter.keys() != like.keys():
        odd = sorted(adapter.keys() ^ like.keys())[0]
        fault = "is missing" if odd in like else "is unknown"
        raise MessageError(
            f"{sender}: tensor {odd!r} {fault}", "server and clients must use the same model and adapter settings"
        )
    for name, tensor in adapter.items():
        if tensor.shape != like[name].shape:
            raise MessageError(
                f"{sender}: tensor {name!r} has shape {tuple(tensor.shape)}, not {tuple(like[name].shape)}"
            )
        if tensor.dtype != like[name].dtype:
            raise MessageError(f"{sender}: tensor {name!r} is {tensor.dtype}, not {like[name].dtype}")
        if not torch.isfinite(tensor).all():
            raise MessageError(f"{sender}: tensor {name!r} holds values that are not finite")
        if tensor.numel() and float(tensor.abs().max()) > LARGEST_VALUE:
            raise MessageError(f"{sender}: tensor {name!r} holds values beyond {LARGEST_VALUE:g}")


def _doors(config: ConfigRecord) -> Doors:
    shares, tokens = config.get("split-shares", []), config.get("split-tokens", [])
    if len(shares) != len(tokens) or not tokens:
        raise MessageError(f"fields 'split-shares' and 'split-tokens' have {len(shares)} and {len(tokens)} entries")
    return Doors(text(config, "split-address"), dict(zip(shares, tokens, strict=True)))


def _arrays(adapter: Adapter) -> ArrayRecord:
    return ArrayRecord(OrderedDict(adapter))


def _share(metrics: Mapping[str, Any]) -> float:
    share = number(metrics, "share")
    if share not in (0.0, *SHARES):
        raise MessageError(f"field 'share' = {share!r} was not offered", f"the own shares are 0 and {SHARES}")
    return share


def _named(name: str, ranking: Ranking) -> dict[str, float]:
    return {f"{name}.users": ranking.users, **{f"{name}.{metric}": ranking.values[metric] for metric in METRICS}}


def _ranking(metrics: Mapping[str, Any], name: str) -> Ranking:
    values = {metric: number(metrics, f"{name}.{metric}") for metric in METRICS}
    for metric, value in values.items():
        if not 0 <= value <= 1:
            raise MessageError(f"field '{name}.{metric}' = {value!r} is not between 0 and 1")
    return Ranking(whole(metrics, f"{name}.users"), values)


def _ranked(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    beside = [name for names in GROUNDED.values() for name in names if f"{name}.users" in metrics]
    return (*RANKINGS, *beside)


def _grouped(report: TrainReport | EvaluateReport, *names: str) -> dict[str, float]:
    return {f"{name}.{key}": value for name in names for key, value in getattr(report, name).items()}


def _row(row: Any) -> Any:
    if not isinstance(row, str) or len(row) > LONGEST_ROW:
        raise ValueError(f"a row is no text of at most {LONGEST_ROW} characters")
    return json.loads(row)


def _typed(kind: type[ClientFacts], row: dict[str, Any]) -> ClientFacts:
    expected = {f.name: {"str": str, "int": int, "bool": bool}[str(f.type)] for f in fields(kind)}
    for name, python_type in expected.items():
        value = row.get(name) if isinstance(row, dict) else None
        if type(value) is not python_type:
            raise ValueError(f"{name!r} = {short(value)} is no {python_type.__name__}")
        if python_type is str:
            checked_text(value, name)
        if python_type is int and not 0 <= value <= LARGEST_COUNT:
            raise ValueError(f"{name!r} = {short(value)} is no count of at most {LARGEST_COUNT}")
    if row["client"] == POOL:
        raise ValueError(f"client name {POOL!r} is reserved")
    check_name(row["client"])
    facts = kind(**{name: row[name] for name in expected})
    if facts.test_users + facts.met_before > facts.users:
        raise ValueError(f"{facts.test_users} users to test and {facts.met_before} met before, of {facts.users} users")
    if not facts.train_interactions <= facts.interactions or facts.users > facts.interactions:
        raise ValueError(
            f"{facts.users} users, {facts.train_interactions} training interactions of {facts.interactions} interactions"
        )
    return facts
