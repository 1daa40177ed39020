"""Fields of Flower's records, read with care: whatever is missing, of another type or out of range is named and refused.

Whoever sends a record may send anything. So every number has a range, every text a length, and no refusal repeats more of a
value than a few words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from reprlib import repr as short
from typing import Any

from flwr.app import ConfigRecord, MetricRecord, RecordDict

from common.data.sets import check_name
from common.errors import ConfigError, FellrecError, MessageError
from common.low_rank import Adapter

LARGEST_COUNT = 2**40
"""Nothing that is counted here (people, interactions, steps, bytes of a machine's memory) comes to more."""

LONGEST_SECONDS = 1e8
"""Three years."""

LONGEST_TEXT = 256
"""Characters of a text in a message, at most."""


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Around the reading of what another process sent: whatever it trips over is a MessageError, and costs its sender alone."""
    try:
        yield
    except FellrecError:
        raise
    except Exception as error:
        raise MessageError(f"{what} cannot be read: {type(error).__name__}, {error!s:.200}") from error


def names(config: Mapping[str, Any], key: str = "clients") -> tuple[str, ...]:
    """A list of distinct client names."""
    found = config.get(key, [])
    if not isinstance(found, list) or len(set(found)) < len(found):
        raise MessageError(f"field {key!r} is no list of distinct clients")
    try:
        return tuple(check_name(name) for name in found)
    except (ConfigError, TypeError) as error:
        raise MessageError(f"field {key!r}: {error}") from error


def listed(config: Mapping[str, Any], key: str) -> list[Any]:
    """A list, empty where the field is missing."""
    found = config.get(key, [])
    if not isinstance(found, list):
        raise MessageError(f"field {key!r} = {short(found)} is no list")
    return found


def numbers(
    metrics: Mapping[str, Any], key: str, count: int, least: float, most: float, optional: bool = False
) -> tuple[float, ...]:
    """One number in ``[least, most]`` for each of ``count`` clients; an ``optional`` field may be empty."""
    values = metrics.get(key, [])
    if isinstance(values, list) and optional and not values:
        return ()
    if not isinstance(values, list) or len(values) != count:
        raise MessageError(f"field {key!r} is not one number for each of {count} clients")
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise MessageError(f"field {key!r} holds what is no finite number")
    for value in values:
        if not least <= value <= most:
            raise MessageError(f"field {key!r} holds {short(value)}, not within {least:g} and {most:g}")
    return tuple(values)


def arrays(record: RecordDict, key: str = "arrays") -> Adapter:
    """The tensors of an array record."""
    if key not in record.array_records:
        raise MessageError(f"message has no record {key!r}")
    try:
        return dict(record.array_records[key].to_torch_state_dict())
    except (TypeError, ValueError, RuntimeError) as error:
        raise MessageError(f"record {key!r} cannot be read: {error}") from error


def config_of(record: RecordDict) -> ConfigRecord:
    """The record ``config``."""
    if "config" not in record.config_records:
        raise MessageError("message has no record 'config'")
    return record.config_records["config"]


def metrics_of(record: RecordDict) -> MetricRecord:
    """The record ``metrics``."""
    if "metrics" not in record.metric_records:
        raise MessageError("message has no record 'metrics'")
    return record.metric_records["metrics"]


def text(config: Mapping[str, Any], key: str) -> str:
    """A text that is not empty; see :func:`checked_text`."""
    return checked_text(config.get(key), key)


def checked_text(value: Any, key: str, most: int = LONGEST_TEXT) -> str:
    """The value itself where it is a text of 1 to ``most`` characters that can be printed and encoded."""
    if not isinstance(value, str) or not value:
        raise MessageError(f"field {key!r} = {short(value)} is no text")
    if len(value) > most or not value.isprintable():
        # no surrogate, control or direction character is printable
        raise MessageError(f"field {key!r} = {short(value)} is no text of at most {most} printable characters")
    return value


def number(record: Mapping[str, Any], key: str, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number in ``[least, most]``."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MessageError(f"field {key!r} = {short(value)} is no finite number")
    if value > most:
        raise MessageError(f"field {key!r} = {short(value)} is beyond {most:g}")
    if value < least:
        raise MessageError(f"field {key!r} = {short(value)} is below {least:g}")
    return value


def whole(record: Mapping[str, Any], key: str, most: int = LARGEST_COUNT) -> int:
    """A count of at most ``most``."""
    value = number(record, key)
    if value != int(value) or value < 0:
        raise MessageError(f"field {key!r} = {short(value)} is no count")
    if value > most:
        raise MessageError(f"field {key!r} = {short(value)} is beyond {most}")
    return int(value)


def group(
    record: Mapping[str, Any], name: str, keys: Sequence[str], most: float = LARGEST_COUNT, optional: bool = True
) -> dict[str, float]:
    """The fields ``name.key`` in ``[0, most]``, by key; one that is not among ``keys`` is refused."""
    found = {key.removeprefix(f"{name}."): key for key in record if key.startswith(f"{name}.")}
    unknown = sorted(found.keys() - set(keys))
    if unknown:
        raise MessageError(f"field {short(found[unknown[0]])} is unknown", f"{name!r} has {', '.join(keys)}")
    return {key: number(record, f"{name}.{key}", 0, most) for key in keys if key in found or not optional}


def message_bytes(record: RecordDict) -> int:
    """Bytes of a message's content: tensors as they are stored for the wire, text, and eight for each number; no framing."""
    tensors = sum(len(name) + len(array.data) for own in record.array_records.values() for name, array in own.items())
    fields = sum(len(name) + _size(value) for own in record.config_records.values() for name, value in own.items())
    numbers = sum(len(name) + _size(value) for own in record.metric_records.values() for name, value in own.items())
    return tensors + fields + numbers


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(_size(one) for one in value)
    return len(value.encode()) if isinstance(value, str) else 8
