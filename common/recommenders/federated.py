"""What of a run's model is federated: its trained tensors, whom each is about, and what clients report of it.

Server and clients make it from the same configuration. It holds no client's data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from common.config import RunConfig
from common.errors import MessageError
from common.low_rank import Adapter
from common.messages import Clicks, ClientFacts, Measurement, Rankings
from common.recommenders.build import origin
from common.recommenders.click.run import click_run
from common.recommenders.groups import group_values
from common.scopes import MIXED, Scope, owner_of, scopes_of


@dataclass(frozen=True, eq=False)
class FederatedModel:
    """The trained tensors of a run.

    Attributes
    ----------
    start : Adapter
        Every trained tensor as the run starts with it, by name, in one client's shape: P_0.
    scopes : Mapping[str, Scope]
        Scope of each.
    groups : Mapping[str, int]
        Number of values of each attribute that clients are grouped by.
    measured : type[Measurement]
        Form of its measurements.
    parts : tuple of str
        Parts that are measured at the end, at least.
    gradients : bool
        Whether clients send gradients of group and shared tensors, at the point where the round begins, for an
        optimiser on the server; otherwise they send the tensors as they trained them.
    people : bool
        Whether each client is one person, of whom a node may host many.
    catalogue : str
        Digest of the items and attributes that every client must have; empty where each has a catalogue of its own.
    """

    start: Adapter
    scopes: Mapping[str, Scope]
    groups: Mapping[str, int]
    measured: type[Measurement]
    parts: tuple[str, ...]
    gradients: bool = False
    people: bool = False
    catalogue: str = ""

    def of(self, *scopes: Scope) -> Adapter:
        """The tensors of these scopes as the run starts with them, as copies."""
        return {name: tensor.clone() for name, tensor in self.start.items() if self.scopes[name] in scopes}

    def names(self, *scopes: Scope) -> list[str]:
        """The names of the tensors of these scopes."""
        return [name for name in self.start if self.scopes[name] in scopes]

    @property
    def mixes(self) -> bool:
        """Whether anything that one client sends reaches others."""
        return any(scope in MIXED for scope in self.scopes.values())

    def check(self, facts: ClientFacts) -> None:
        """Refuses a client whose data do not fit the model.

        Raises
        ------
        MessageError : it has other items or attributes, or groups that the model does not know.
        """
        if self.catalogue and facts.set.catalogue != self.catalogue:
            raise MessageError(
                f"client {facts.client!r} has other items or attributes than the warm start was made on",
                "give it the log or the model that belong together",
            )
        sizes = list(self.groups.values())
        if len(facts.groups) != len(sizes) or not all(
            code < size for code, size in zip(facts.groups, sizes, strict=True)
        ):
            raise MessageError(
                f"client {facts.client!r} has groups {facts.groups!r}, the model {dict(self.groups)!r} values of each",
                "name every grouping attribute in its node configuration, with a value that the run knows",
            )


def federated_model(config: RunConfig) -> FederatedModel:
    """The federated tensors of a configuration.

    Raises
    ------
    ModelError : the model is missing, damaged or cannot be adapted.
    ConfigError : settings that do not fit it.
    """
    if config.model.recommender == "click":
        click = click_run(config)
        return FederatedModel(
            start=click.start(),
            scopes=click.scopes,
            groups=click.groups,
            measured=Clicks,
            parts=("validation", "test", "warm_start"),
            gradients=True,
            people=True,
            catalogue=click.base.record["set"]["vocabulary"],
        )
    start = origin(config.model, config.seed, config.generate, config.fedpa)
    groups = {name: len(values) for name, values in group_values(config).items()}
    return FederatedModel(
        start=start,
        scopes=text_scopes(config, start),
        groups=groups,
        measured=Rankings,
        parts=("test", "model", "validation", "popularity", "item_knn"),
    )


def text_scopes(config: RunConfig, names: Iterable[str]) -> dict[str, Scope]:
    """The scope of every trained tensor of a language model, by its name."""
    return scopes_of(config.strategy.name, {name: owner_of(name) for name in names})
