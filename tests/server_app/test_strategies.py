from __future__ import annotations

from pathlib import Path

import pytest

from common.config import RunConfig, from_flat
from common.errors import ConfigError
from common.recommenders.federated import federated_model
from common.scopes import SCOPES, Scope
from server_app.aggregation import RULES
from server_app.aggregation.fedavg import FedAvg, FedAvgUniform
from server_app.aggregation.gradients import GradientStep, GroupMean
from server_app.aggregation.rule import named, with_options
from server_app.strategies import Plan, plan
from tests.clicks import click_settings
from tests.federation import tiny_settings


def planned(config: RunConfig) -> Plan:
    return plan(config, federated_model(config))


@pytest.mark.parametrize("strategy", SCOPES)
def test_every_strategy_has_a_rule_for_every_scope_of_the_table(fellrec_home: Path, strategy: str) -> None:
    gated = {"model__adapter": "gated", "fedpa__groups": "branch=a,b"} if strategy == "fedpa" else {}
    found = planned(from_flat(tiny_settings(fellrec_home, strategy__name=strategy, **gated)))
    assert type(found.personal) in RULES.values() and isinstance(found.group, GroupMean)
    assert found.shared == found.personal
    assert found.pooled == (strategy == "centralised") and found.own_share == (strategy == "fellrec")
    assert found.guarded == (strategy not in ("local", "centralised"))


def test_a_click_model_s_common_tensors_follow_gradients(fellrec_home: Path) -> None:
    config = from_flat(click_settings(fellrec_home, fedpa__shared_learning_rate=0.5))
    found = planned(config)
    assert isinstance(found.rule(Scope.SHARED), GradientStep) and found.shared.rate == 0.5
    assert isinstance(found.rule(Scope.GROUP), GradientStep) and found.group.rate == config.fedpa.group_learning_rate


@pytest.mark.parametrize(("weights", "rule"), [("size", FedAvg), ("uniform", FedAvgUniform)])
def test_means_are_by_size_or_uniform(fellrec_home: Path, weights: str, rule: type) -> None:
    for strategy in ("fedavg", "fedprox"):
        settings = tiny_settings(fellrec_home, strategy__name=strategy, fedavg__weights=weights)
        assert planned(from_flat(settings)).shared == rule()


def test_a_strategy_without_a_rule_is_refused(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = from_flat(tiny_settings(fellrec_home, strategy__name="median"))
    monkeypatch.delitem(RULES, "median")
    with pytest.raises(ConfigError, match="'median' has scopes, but no rule"):
        planned(config)


def test_a_name_is_given_once() -> None:
    with pytest.raises(ConfigError, match="two rules are named 'local'"):
        named("local")(FedAvg)
    with pytest.raises(ConfigError, match="two rules are named 'fedpa'"):
        named("fedpa", Scope.SHARED)(FedAvg)


def test_the_options_of_a_rule_are_the_fields_of_its_class() -> None:
    assert with_options("krum", "hostile=2").hostile == 2
    assert with_options("fellrec", "attention=false temperature=0.5").temperature == 0.5
    for wrong, said in (("sharp=2", "no setting of the strategy 'krum'"), ("hostile=two", "'two' is no int")):
        with pytest.raises(ConfigError, match=said):
            with_options("krum", wrong)
