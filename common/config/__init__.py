"""The typed configuration of a run, filled in one place from Flower's flat run configuration.

Flower hands every app one flat mapping (``"train.learning-rate": 0.001``). :func:`from_flat` turns it into a
:class:`RunConfig` or raises a :class:`~common.errors.ConfigError` that names the key, the value and the nearest right one.
"""

from common.config.conflicts import LOOPBACK
from common.config.flat import Value, flatten, from_flat
from common.config.parsing import parse_groups, parse_pairs
from common.config.section import Section
from common.config.sections import (
    ClickConfig,
    FederationConfig,
    FedpaConfig,
    GenerateConfig,
    GuardConfig,
    ModelConfig,
    PrivacyConfig,
    RunConfig,
    StrategyConfig,
    TrainConfig,
)
from common.config.split import SplitConfig

__all__ = [
    "LOOPBACK",
    "ClickConfig",
    "FederationConfig",
    "FedpaConfig",
    "GenerateConfig",
    "GuardConfig",
    "ModelConfig",
    "PrivacyConfig",
    "RunConfig",
    "Section",
    "SplitConfig",
    "StrategyConfig",
    "TrainConfig",
    "Value",
    "flatten",
    "from_flat",
    "parse_groups",
    "parse_pairs",
]
