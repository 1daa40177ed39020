"""common/config: every way to get a setting wrong is named, with the nearest right one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import RunConfig, flatten, from_flat
from common.errors import ConfigError
from fellrec.recipes import read_recipe

CHECKOUT = Path(__file__).resolve().parents[3]


def flat_keys(section: dict, prefix: str = "") -> dict[str, object]:
    """A table of TOML as Flower hands it to an app."""
    flat: dict[str, object] = {}
    for key, value in section.items():
        flat |= flat_keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def test_the_defaults_are_those_of_pyproject() -> None:
    declared = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    flat = flat_keys(declared)
    assert flat == dict(flatten(RunConfig()))
    assert {key: type(value) for key, value in flat.items()} == {
        key: type(value) for key, value in flatten(RunConfig())
    }


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (CHECKOUT / "recipes").glob("*.toml")))
def test_every_recipe_is_a_valid_configuration_with_its_own_name(recipe: str) -> None:
    assert from_flat(read_recipe(recipe)).recipe == recipe


def test_flatten_and_from_flat_are_inverse() -> None:
    config = from_flat({"train.examples": 7, "strategy.name": "local", "model.lora-alpha": 4})
    assert from_flat(dict(flatten(config))) == config
    assert config.train.examples == 7 and config.model.lora_alpha == 4.0


@pytest.mark.parametrize(
    ("flat", "said"),
    [
        ({"train.lerning-rate": 0.1}, ["'train.lerning-rate' = 0.1", "did you mean 'train.learning-rate'"]),
        ({"num-rounds": 3}, ["'num-rounds' = 3", "num-server-rounds"]),
        ({"strategy.name": "fedavrg"}, ["'strategy.name' = 'fedavrg'", "did you mean 'fedavg'"]),
        ({"train.learning-rate": float("nan")}, ["'train.learning-rate' = nan", "finite"]),
        ({"fellrec.alpha": float("inf")}, ["'fellrec.alpha' = inf", "finite"]),
        ({"seed": True}, ["'seed' = True", "integer"]),
        ({"seed": "one"}, ["'seed' = 'one'", "integer"]),
        ({"num-server-rounds": 0}, ["'num-server-rounds' = 0", "greater than or equal to 1"]),
        ({"fellrec.heating": 1}, ["'fellrec.heating' = 1", "boolean"]),
        ({"federation.quorum": 1.5}, ["'federation.quorum' = 1.5", "less than or equal to 1"]),
        ({"run-name": "a/b"}, ["'run-name' = 'a/b'"]),
        ({"model.item-tokens": 96}, ["'model.max-tokens' = 96", "at least 98"]),
        ({"train.freeze-items-from": 9}, ["'train.freeze-items-from' = 9", "'num-server-rounds' = 4"]),
        ({"model.adapter": "full"}, ["'model.adapter' = 'full'", "'split.on' to false"]),
        ({"split.k": 0, "split.m": 0}, ["'split.k' = 0", "no layer on the client"]),
        ({"model.lora-dropout": 0.1}, ["'model.lora-dropout' = 0.1", "set it to 0.0"]),
        ({"strategy.name": "fedprox"}, ["'strategy.name' = 'fedprox'", "'split.on' to false"]),
        ({"split.host": "10.0.0.1"}, ["'split.host' = '10.0.0.1'", "split.certificate"]),
        (
            {"split.host": "0.0.0.0", "split.certificate": "c", "split.key": "k"},
            ["'split.host' = '0.0.0.0'", "split.advertise"],
        ),
        ({"run-name": "latest"}, ["'run-name' = 'latest'"]),
        ({"resume": True}, ["'run-name' = ''"]),
        ({"model.recency": 0.5, "model.pooling": "first"}, ["'model.recency' = 0.5", "'first'"]),
        ({"split.certificate": "c.pem"}, ["'split.certificate' = 'c.pem'", "give both"]),
        ({"split.client-ca": "a.pem"}, ["'split.client-ca' = 'a.pem' without TLS", "split.certificate"]),
        ({"split.port": 9000, "split.metrics-port": 9000}, ["'split.metrics-port' = 9000", "a port of its own"]),
        (
            {"split.on": False, "model.adapter": "full", "model.dtype": "bf16"},
            ["'model.dtype' = 'bf16'", "'fp32'"],
        ),
        (
            {"split.on": False, "model.adapter": "full", "fellrec.merge": "product"},
            ["'fellrec.merge' = 'product'", "'factors'"],
        ),
        (
            {"split.on": False, "model.adapter": "full", "fellrec.similarity": "product"},
            ["'fellrec.similarity' = 'product'", "'update'"],
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_a_remedy(flat: dict, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_flat(flat)
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert caught.value.hint


@given(
    st.sampled_from(sorted(dict(flatten(RunConfig())))), st.sampled_from([float("nan"), float("inf"), -float("inf")])
)
def test_no_setting_takes_a_number_that_is_not_finite(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        from_flat({key: value})


@pytest.mark.parametrize("seed", [2**32, 2**63, -1])
def test_a_seed_that_a_generator_does_not_take_is_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match=f"'seed' = {seed}"):
        from_flat({"seed": seed})
    assert from_flat({"seed": 2**32 - 1}).seed == 2**32 - 1


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("x:0", "'data.sets' = 'x:0' gives a set 0 clients"),
        ("x:1 y:0", "0 clients"),
        ("x:", "cannot read 'x:'"),
        ("", "no data set is named"),
        ("x x", "stands twice"),
    ],
)
def test_sets_that_cannot_be_dealt_are_refused(sets: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_flat({"data.sets": sets})


def test_no_number_of_clients_means_one_a_user_where_the_partition_can() -> None:
    assert from_flat({"data.sets": "x:0", "data.partition": "user"}).data.sets == "x:0"
