"""Fields of Flower's records, read with care: whatever is missing, of another type or not finite is named and refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flwr.app import ConfigRecord, MetricRecord, RecordDict

from common.data.sets import check_name
from common.errors import ConfigError, MessageError
from common.low_rank import Adapter


def names(config: Mapping[str, Any], key: str = "clients") -> tuple[str, ...]:
    """A list of distinct client names."""
    found = config.get(key, [])
    if not isinstance(found, list) or len(set(found)) < len(found):
        raise MessageError(f"field {key!r} is no list of distinct clients")
    try:
        return tuple(check_name(name) for name in found)
    except (ConfigError, TypeError) as error:
        raise MessageError(f"field {key!r}: {error}") from error


def numbers(metrics: Mapping[str, Any], key: str, count: int, optional: bool = False) -> tuple[float, ...]:
    """One finite number for each of ``count`` clients; an ``optional`` field may be empty."""
    values = metrics.get(key, [])
    if isinstance(values, list) and optional and not values:
        return ()
    if not isinstance(values, list) or len(values) != count:
        raise MessageError(f"field {key!r} is not one number for each of {count} clients")
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise MessageError(f"field {key!r} holds what is no finite number")
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
    """A text that is not empty."""
    value = config.get(key)
    if not isinstance(value, str) or not value:
        raise MessageError(f"field {key!r} = {value!r} is no text")
    return value


def number(record: Mapping[str, Any], key: str) -> float:
    """A finite number."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MessageError(f"field {key!r} = {value!r} is no finite number")
    return value


def whole(record: Mapping[str, Any], key: str) -> int:
    """A count."""
    value = number(record, key)
    if value != int(value) or value < 0:
        raise MessageError(f"field {key!r} = {value!r} is no count")
    return int(value)
