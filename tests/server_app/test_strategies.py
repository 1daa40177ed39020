from __future__ import annotations

import pytest

from common.config import from_flat
from common.errors import ConfigError
from common.scopes import ADAPTER_SCOPE, Scope
from server_app.aggregation import RULES
from server_app.aggregation.fedavg import FedAvg, FedAvgUniform
from server_app.aggregation.rule import named
from server_app.strategies import plan


@pytest.mark.parametrize("strategy", ADAPTER_SCOPE)
def test_every_strategy_has_a_rule_and_the_scope_of_the_table(strategy: str) -> None:
    found = plan(from_flat({"strategy.name": strategy, "split.on": False}))
    assert found.scope is ADAPTER_SCOPE[strategy] and type(found.rule) in RULES.values()
    assert found.pooled == (strategy == "centralised") and found.own_share == (strategy == "fellrec")


@pytest.mark.parametrize(("weights", "rule"), [("size", FedAvg), ("uniform", FedAvgUniform)])
def test_means_are_by_size_or_uniform(weights: str, rule: type) -> None:
    for strategy in ("fedavg", "fedprox"):
        settings = {"strategy.name": strategy, "fedavg.weights": weights, "split.on": False}
        assert plan(from_flat(settings)).rule == rule()


def test_a_strategy_without_a_rule_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = from_flat({"strategy.name": "local"})
    monkeypatch.delitem(RULES, "local")
    with pytest.raises(ConfigError, match="'local' has a scope, but no rule"):
        plan(config)


def test_a_name_is_given_once() -> None:
    with pytest.raises(ConfigError, match="two rules are named 'local'"):
        named("local")(FedAvg)
    assert ADAPTER_SCOPE["local"] is Scope.PERSONAL and RULES["local"] is not FedAvg
