"""What a client tells of its data when it joins: counts, names and digests; never content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from common.data.sets import POOL, check_name
from common.errors import ConfigError, MessageError
from common.messages.fields import LARGEST_COUNT, checked_text

MOST_CLIENTS = 100_000
"""Clients of one node, at most."""

MOST_GROUPS = 64
"""Grouping attributes, at most."""


@dataclass(frozen=True)
class SetFacts:
    """What clients of one data set have in common.

    Attributes
    ----------
    dataset : str
        Name of the set.
    catalogue : str
        Digest of the catalogue, or of a click log's items and attributes.
    items : int
        Items of the catalogue.
    generated : bool
        Whether the data were made up.
    split : str
        How train, validation and test part were told apart.
    """

    dataset: str
    catalogue: str
    items: int
    generated: bool
    split: str


@dataclass(frozen=True)
class ClientFacts:
    """What one client tells.

    Attributes
    ----------
    client : str
        Name of the client.
    set : SetFacts
        Set that its data are from.
    digest : str
        Digest of its data, or of the log that they are a part of.
    users : int
        People whose behaviour it holds; of a click model's clients each is one.
    interactions, train_interactions : int
        Interactions or rows, and those that it trains on.
    test_users : int
        Users that can be tested.
    met_before : int
        Users that had all their test items before.
    repeated : int
        Interactions with the user, the item and the moment of another.
    groups : tuple of int
        Value (code) of every grouping attribute.
    """

    client: str
    set: SetFacts
    digest: str
    users: int
    interactions: int
    train_interactions: int
    test_users: int = 0
    met_before: int = 0
    repeated: int = 0
    groups: tuple[int, ...] = ()


COUNTS = ("users", "interactions", "train_interactions", "test_users", "met_before", "repeated")
_SET_FIELDS = tuple(field.name for field in fields(SetFacts))


def to_columns(clients: Sequence[ClientFacts]) -> dict[str, list[Any]]:
    """The facts as columns of plain values; what clients of one set have in common stands once."""
    sets = list(dict.fromkeys(facts.set for facts in clients))
    columns: dict[str, list[Any]] = {f"set.{name}": [getattr(one, name) for one in sets] for name in _SET_FIELDS}
    columns["clients"] = [facts.client for facts in clients]
    columns["of-set"] = [sets.index(facts.set) for facts in clients]
    digests = list(dict.fromkeys(facts.digest for facts in clients))
    columns["digests"] = digests
    columns["of-digest"] = [digests.index(facts.digest) for facts in clients]
    columns |= {name: [getattr(facts, name) for facts in clients] for name in COUNTS}
    attributes = len(clients[0].groups) if clients else 0
    columns |= {f"group.{place}": [facts.groups[place] for facts in clients] for place in range(attributes)}
    return columns


def from_columns(columns: Mapping[str, Any]) -> tuple[ClientFacts, ...]:
    """Reads what :func:`to_columns` gave.

    Raises
    ------
    MessageError : a column is missing, of another length, or holds what cannot be; naming the column.
    """
    names = _column(columns, "clients")
    if len(names) > MOST_CLIENTS:
        raise MessageError(f"field 'clients' holds {len(names)} clients, {MOST_CLIENTS} is the most")
    count = len(names)
    if len(set(map(repr, names))) < count:
        raise MessageError("field 'clients' is no list of distinct clients")
    sets = _sets(columns, count)
    digests = [checked_text(value, "digests") for value in _column(columns, "digests")]
    of_set, of_digest = _places(columns, "of-set", count, len(sets)), _places(columns, "of-digest", count, len(digests))
    counted = {name: _counts(columns, name, count) for name in COUNTS}
    attributes = sum(key.startswith("group.") for key in columns)
    if attributes > MOST_GROUPS:
        raise MessageError(f"{attributes} fields 'group.*', {MOST_GROUPS} is the most")
    codes = [_counts(columns, f"group.{place}", count) for place in range(attributes)]
    return tuple(
        _checked(
            ClientFacts(
                _name(names[place]),
                sets[of_set[place]],
                digests[of_digest[place]],
                **{name: counted[name][place] for name in COUNTS},
                groups=tuple(column[place] for column in codes),
            )
        )
        for place in range(count)
    )


def _sets(columns: Mapping[str, Any], clients: int) -> list[SetFacts]:
    texts = {name: _column(columns, f"set.{name}") for name in _SET_FIELDS}
    lengths = {len(column) for column in texts.values()}
    if len(lengths) != 1 or lengths.pop() > max(clients, 1):
        raise MessageError("fields 'set.*' are not of one length, or more than there are clients")
    items = _counts(columns, "set.items", len(texts["items"]))
    return [
        SetFacts(
            checked_text(dataset, "set.dataset"),
            checked_text(catalogue, "set.catalogue"),
            count,
            generated is True,
            checked_text(split, "set.split"),
        )
        for dataset, catalogue, count, generated, split in zip(
            texts["dataset"], texts["catalogue"], items, texts["generated"], texts["split"], strict=True
        )
    ]


def _column(columns: Mapping[str, Any], key: str, count: int | None = None) -> list[Any]:
    found = columns.get(key)
    if not isinstance(found, list) or (count is not None and len(found) != count):
        raise MessageError(f"field {key!r} is no list" + ("" if count is None else f" of {count}"))
    return found


def _counts(columns: Mapping[str, Any], key: str, count: int) -> list[int]:
    found = _column(columns, key, count)
    for value in found:
        if type(value) is not int or not 0 <= value <= LARGEST_COUNT:
            raise MessageError(f"field {key!r} = {value!r:.40} is no count of at most {LARGEST_COUNT}")
    return found


def _places(columns: Mapping[str, Any], key: str, count: int, below: int) -> list[int]:
    found = _counts(columns, key, count)
    if any(place >= below for place in found):
        raise MessageError(f"field {key!r} points beyond its table of {below}")
    return found


def _name(value: Any) -> str:
    if value == POOL:
        raise MessageError(f"field 'clients': client name {POOL!r} is reserved")
    try:
        return check_name(checked_text(value, "clients"))
    except ConfigError as error:
        raise MessageError(f"field 'clients': {error}") from error


def _checked(facts: ClientFacts) -> ClientFacts:
    if facts.test_users + facts.met_before > facts.users:
        raise MessageError(
            f"{facts.test_users} users to test and {facts.met_before} met before, of {facts.users} users"
        )
    if not facts.train_interactions <= facts.interactions or facts.users > facts.interactions:
        raise MessageError(
            f"{facts.users} users, {facts.train_interactions} training interactions of {facts.interactions} interactions"
        )
    return facts
