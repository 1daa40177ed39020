"""The strategies by name: a scope for the adapter, a rule that mixes it, and what else a round does.

This table is where FELLRec, FedAvg, FedProx, local-only and centralised training differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.config import RunConfig
from common.errors import ConfigError
from common.scopes import ADAPTER_SCOPE, Scope
from server_app.aggregation import RULES
from server_app.aggregation.rule import Rule


@dataclass(frozen=True)
class Plan:
    """How a run aggregates.

    Attributes
    ----------
    scope : of the trained tensors.
    rule : gives the mixing matrix and the merge.
    heating : whether clients take from the others by the heat of their loss.
    pacing : whether their learning rate follows that heat.
    own_share : whether each client may step from the mix towards its own adapter.
    pooled : whether one client trains on everybody's data (centralised, a reference and not a federation).
    guarded : whether one client's update reaches others, who are guarded against it.
    """

    scope: Scope
    rule: Rule
    heating: bool = False
    pacing: bool = False
    own_share: bool = False
    pooled: bool = False
    guarded: bool = True


def plan(config: RunConfig) -> Plan:
    """The plan that the configuration names.

    Raises
    ------
    ConfigError : a strategy that has a scope, but no rule.
    """
    name, fellrec = config.strategy.name, config.fellrec
    scope = ADAPTER_SCOPE[name]
    if name == "fellrec":
        rule = RULES[name](fellrec.attention, fellrec.similarity, fellrec.temperature, fellrec.merge)
        return Plan(scope, rule, fellrec.heating, fellrec.pacing, fellrec.own_share == "validated")
    if name == "fellrec-paper":
        return Plan(scope, RULES[name](), heating=True)
    if name in ("fedavg", "fedprox", "centralised"):
        mean = "fedavg" if config.fedavg.weights == "size" else "fedavg-uniform"
        return Plan(scope, RULES[mean](), pooled=name == "centralised", guarded=name != "centralised")
    if name in ("trimmed-mean", "krum"):
        return Plan(scope, RULES[name](config.robust.hostile))
    if name not in RULES:
        raise ConfigError(
            f"'strategy.name' = {name!r} has a scope, but no rule",
            f"decorate one in server_app/aggregation/ with @named({name!r})",
        )
    return Plan(scope, RULES[name](), guarded=name != "local")
