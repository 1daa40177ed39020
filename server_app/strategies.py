"""The strategies by name: a rule for each scope that is mixed, and what else a round does.

Whose tensors have which scope stands in ``common.scopes``; this is where FELLRec, FedPA, FedAvg, FedProx, local-only and
centralised training differ on the server.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.config import RunConfig
from common.errors import ConfigError
from common.recommenders.federated import FederatedModel
from common.scopes import Scope
from server_app.aggregation import RULES
from server_app.aggregation.fedavg import FedAvg, FedAvgUniform
from server_app.aggregation.fellrec import Fellrec
from server_app.aggregation.gradients import GradientStep, GroupMean, TableRule
from server_app.aggregation.krum import Krum
from server_app.aggregation.local import Local
from server_app.aggregation.median import TrimmedMean
from server_app.aggregation.rule import Rule, with_options

WITH_SECTIONS = (
    "fellrec",
    "fellrec-paper",
    "fedavg",
    "fedprox",
    "centralised",
    "fedpa",
    "trimmed-mean",
    "krum",
    "local",
)
"""Strategies whose settings stand in sections of the configuration."""


@dataclass(frozen=True)
class Plan:
    """How a run aggregates.

    Attributes
    ----------
    personal : Rule
        Rule for each client's own mix.
    shared : Rule or TableRule
        Rule for what is one for all.
    group : TableRule
        Rule for what is one for each group.
    heating : bool
        Whether clients take from the others by the heat of their loss.
    pacing : bool
        Whether their learning rate follows that heat.
    own_share : bool
        Whether each client may step from its mix towards what it sent last.
    pooled : bool
        Whether one client trains on everybody's data (centralised, a reference and not a federation).
    guarded : bool
        Whether one client's contribution reaches others, who are guarded against it.
    """

    personal: Rule
    shared: Rule | TableRule
    group: TableRule
    heating: bool = False
    pacing: bool = False
    own_share: bool = False
    pooled: bool = False
    guarded: bool = True

    def rule(self, scope: Scope) -> Rule | TableRule:
        """The rule of a mixed scope."""
        return {Scope.PERSONAL: self.personal, Scope.SHARED: self.shared, Scope.GROUP: self.group}[scope]


def plan(config: RunConfig, model: FederatedModel) -> Plan:
    """The plan that the configuration names.

    Raises
    ------
    ConfigError : a strategy that has scopes, but no rule; or options that its rule does not have.
    """
    name, fellrec, fedpa = config.strategy.name, config.fellrec, config.fedpa
    rule = rule_of(config)
    shared: Rule | TableRule = rule
    group: TableRule = GroupMean()
    if model.gradients:
        shared, group = GradientStep(fedpa.shared_learning_rate), GradientStep(fedpa.group_learning_rate)
    if name == "fellrec":
        return Plan(rule, shared, group, fellrec.heating, fellrec.pacing, fellrec.own_share == "validated")
    pooled = name == "centralised"
    guarded = model.mixes and not pooled and name != "local"
    return Plan(rule, shared, group, heating=name == "fellrec-paper", pooled=pooled, guarded=guarded)


def rule_of(config: RunConfig) -> Rule:
    """The rule of the tensors that are about everybody.

    Raises
    ------
    ConfigError : there is none, or ``strategy.options`` are not its settings.
    """
    name, options, fellrec = config.strategy.name, config.strategy.options, config.fellrec
    if options and name in WITH_SECTIONS:
        raise ConfigError(
            f"'strategy.options' = {options!r}, but the settings of {name!r} stand in sections of their own",
            "see docs/configuration.md",
        )
    if name == "fellrec":
        return Fellrec(fellrec.attention, fellrec.similarity, fellrec.temperature, fellrec.merge)
    if name in ("fedavg", "fedprox", "centralised", "fedpa"):
        return FedAvg() if config.fedavg.weights == "size" else FedAvgUniform()
    if name == "trimmed-mean":
        return TrimmedMean(config.robust.hostile)
    if name == "krum":
        return Krum(config.robust.hostile)
    if name == "local":
        return Local()
    if name not in RULES:
        raise ConfigError(
            f"'strategy.name' = {name!r} has scopes, but no rule",
            f"decorate one in server_app/aggregation/ with @named({name!r})",
        )
    return with_options(name, options)
