"""What the server mirrors of a run's tensors, and one step of all its rules.

Shared tensors stand once, group tensors as tables with a row for each value of their attribute, personal ones with each
member. A hosted part belongs to its tensor like any other: between here and the client's messages only ``hosting`` knows
of the split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from common.errors import RunError
from common.low_rank import Adapter
from common.own_share import interpolate
from common.recommenders.federated import FederatedModel
from common.scopes import MIXED, Scope, group_of
from server_app.aggregation.gradients import TableRule
from server_app.aggregation.history import RoundAverage
from server_app.aggregation.merge import merge
from server_app.aggregation.rule import Mixture, Rule, Updates, mix
from server_app.members import Contribution, Member, Members
from server_app.strategies import Plan

COMMON = "common"
"""Name under which shared tensors and tables are averaged over rounds."""


@dataclass(frozen=True, eq=False)
class Mixed:
    """What a step came to.

    Attributes
    ----------
    weights : Tensor or None
        Mixing matrix over the contributors, [n, n]; None where the rule is none, or nothing is mixed by a rule of that
        kind.
    participants : Mapping[str, list of int]
        Clients that counted in every group, by attribute.
    """

    weights: Tensor | None = None
    participants: Mapping[str, list[int]] = field(default_factory=dict)


class ServerState:
    """The run's tensors on the server.

    Parameters
    ----------
    model : FederatedModel
        What is federated.
    plan : Plan
        Rule of each scope.
    average_rounds : int
        Last rounds whose tensors are averaged for the result.

    Attributes
    ----------
    shared : Adapter
        One for all clients.
    tables : Adapter
        [values, ...] of each group tensor's attribute.
    """

    def __init__(self, model: FederatedModel, plan: Plan, average_rounds: int) -> None:
        self.model, self.plan = model, plan
        self.shared: Adapter = model.of(Scope.SHARED)
        self.tables: Adapter = {
            name: tensor.expand(model.groups[group_of(name) or ""], *tensor.shape).clone()
            for name, tensor in model.of(Scope.GROUP).items()
        }
        self.personal = model.names(Scope.PERSONAL)
        self._attributes = list(model.groups)
        self._averages = {
            "mixed": RoundAverage(average_rounds, plan.personal.merge),
            "own": RoundAverage(average_rounds, plan.personal.merge),
            COMMON: RoundAverage(average_rounds, "factors"),
        }

    def like(self) -> Adapter:
        """A tensor of each name that a contribution has, in one client's shape."""
        return {name: tensor for name, tensor in self.model.start.items() if self.model.scopes[name] in MIXED}

    def start(self, member: Member, share: float = 0.0) -> Adapter:
        """The mixed tensors that a client's round begins with, given its own share."""
        rows = {name: table[self._row(name, member)] for name, table in self.tables.items()}
        return {**self.shared, **rows, **self.step_towards_own(member.personal, self.own(member), share)}

    def own(self, member: Member) -> Adapter | None:
        """The personal tensors that a client sent last; None where it may not step towards them."""
        if not self.plan.own_share or member.last is None or not self.personal:
            return None
        return {name: member.last.adapter[name] for name in self.personal}

    def step_towards_own(self, mixed: Adapter, own: Adapter | None, share: float) -> Adapter:
        """The point between a client's mix (share 0) and what it sent last (share 1)."""
        return mixed if own is None else interpolate(mixed, own, share, self.plan.personal.merge)

    def rows_for(self, members: Sequence[Member]) -> tuple[Adapter, dict[str, list[int]]]:
        """The tables' rows that these clients need, and which rows those are by attribute."""
        return self._rows(self.tables, members)

    def newcomer(self, members: Members) -> Adapter:
        """The personal tensors that a client which joins starts from: the mean of everybody's."""
        known = [member.personal for _, member in members]
        if not known or all(member.last is None for _, member in members):
            return self.model.of(Scope.PERSONAL)
        alike = torch.full((1, len(known)), 1 / len(known), dtype=torch.float64)
        return merge(self.plan.personal.merge, known, alike, receivers=[0]).adapters[0]

    def norms(self, sent: Mapping[str, Contribution], members: Mapping[str, Member]) -> Tensor:
        """How far each contribution moved its tensors, float64 [n]; of gradients their own norm."""
        total = torch.zeros(len(sent), dtype=torch.float64)
        codes = self._codes(sent, members)
        for name in self.like():
            block = torch.stack([one.adapter[name] for one in sent.values()]).double()
            if not self._is_gradient(name):
                block = block - self._starts(name, sent, members, codes).double()
            total += block.flatten(1).square().sum(dim=1)
        return total.sqrt()

    def step(
        self, sent: Mapping[str, Contribution], members: Mapping[str, Member], sizes: Tensor, heats: Tensor
    ) -> Mixed:
        """One step of every rule; the contributors' personal tensors are replaced, or everybody's shared ones.

        Parameters
        ----------
        sent : Mapping[str, Contribution]
            What n clients contributed.
        members : Mapping[str, Member]
            These clients, and maybe others.
        sizes : Tensor
            Size of each in a mean, [n].
        heats : Tensor
            w_c of each, [n]; ones where heating is off.

        Raises
        ------
        MessageError : values that are not finite or do not fit together.
        """
        mixture = self._mix(self.plan.personal, self.personal, sent, members, sizes, heats) if self.personal else None
        codes = self._codes(sent, members)
        if mixture is not None:
            for client, adapter in zip(sent, mixture.adapters, strict=True):
                members[client].personal = adapter
            self._averages["mixed"].add({client: members[client].personal for client in sent})
            if self.plan.own_share:
                self._averages["own"].add(
                    {client: {name: one.adapter[name] for name in self.personal} for client, one in sent.items()}
                )
        if self.shared:
            found = self._step_shared(sent, members, sizes, heats)
            mixture = mixture or found
        participants = {}
        for name, table in self.tables.items():
            attribute = group_of(name) or ""
            values = torch.stack([one.adapter[name] for one in sent.values()])
            groups = codes[:, self._attributes.index(attribute)]
            self.tables[name], counted = self.plan.group.step(name, table, values, groups, sizes)
            participants[attribute] = counted.tolist()
        if self.shared or self.tables:
            self._averages[COMMON].add({COMMON: self.shared | self.tables})
        return Mixed(None if mixture is None else mixture.weights, participants)

    def result(self, client: str, member: Member) -> tuple[Adapter, Adapter | None]:
        """The personal tensors that a client is given at the end, averaged over rounds, and its own ones if there are any."""
        if client not in self._averages["mixed"]:
            return member.personal, None
        own = self._averages["own"].mean(client) if client in self._averages["own"] else None
        return self._averages["mixed"].mean(client), own

    def common_result(self) -> tuple[Adapter, Adapter]:
        """Shared tensors and tables as they are given at the end, averaged over rounds."""
        if COMMON not in self._averages[COMMON]:
            return self.shared, self.tables
        found = self._averages[COMMON].mean(COMMON)
        return {name: found[name] for name in self.shared}, {name: found[name] for name in self.tables}

    def result_rows(self, members: Sequence[Member]) -> tuple[Adapter, dict[str, list[int]]]:
        """As :meth:`rows_for`, of the tables as they are given at the end."""
        return self._rows(self.common_result()[1], members)

    def served(self, client: str, member: Member, share: float) -> Adapter:
        """All mixed tensors that a client serves with, given the own share that it chose."""
        personal, own = self.result(client, member)
        shared, tables = self.common_result()
        rows = {name: table[self._row(name, member)] for name, table in tables.items()}
        return {**shared, **rows, **self.step_towards_own(personal, own, share)}

    def tensors(self) -> dict[str, Tensor]:
        """Everything beside the members' own tensors that the next round depends on, for a checkpoint."""
        kept = {f"shared/{name}": tensor for name, tensor in self.shared.items()}
        kept |= {f"table/{name}": tensor for name, tensor in self.tables.items()}
        for scope in MIXED:
            kept |= {f"rule-{scope.value}/{key}": tensor for key, tensor in _rule_state(self.plan.rule(scope)).items()}
        for kind, average in self._averages.items():
            kept |= {f"average-{kind}/{key}": tensor for key, tensor in average.state_dict().items()}
        return kept

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what :meth:`tensors` gave; raises RunError where it does not fit this run's model."""
        for kind, own in (("shared", self.shared), ("table", self.tables)):
            for name in own:
                kept = tensors.get(f"{kind}/{name}")
                if kept is None or kept.shape != own[name].shape:
                    raise RunError(
                        f"checkpoint's tensor {name!r} does not fit the model", "resume with the same settings"
                    )
                own[name] = kept
        for scope in MIXED:
            rule = self.plan.rule(scope)
            if isinstance(rule, TableRule):
                rule.load_state(under(tensors, f"rule-{scope.value}/"))
        for kind, average in self._averages.items():
            average.load_state(under(tensors, f"average-{kind}/"))

    def _step_shared(
        self, sent: Mapping[str, Contribution], members: Mapping[str, Member], sizes: Tensor, heats: Tensor
    ) -> Mixture | None:
        rule = self.plan.shared
        if not isinstance(rule, TableRule):
            mixture = self._mix(rule, list(self.shared), sent, members, sizes, heats)
            self.shared = mixture.adapters[0]
            return mixture
        of_all = torch.zeros(len(sent), dtype=torch.int64)
        for name, tensor in self.shared.items():
            values = torch.stack([one.adapter[name] for one in sent.values()])
            table, _ = rule.step(name, tensor[None], values, of_all, sizes)
            self.shared[name] = table[0]
        return None

    def _mix(
        self,
        rule: Rule,
        names: Sequence[str],
        sent: Mapping[str, Contribution],
        members: Mapping[str, Member],
        sizes: Tensor,
        heats: Tensor,
    ) -> Mixture:
        def part(adapter: Mapping[str, Tensor]) -> Adapter:
            return {name: adapter[name] for name in names}

        losses = [0.0 if one.loss is None else one.loss for one in sent.values()]
        updates = Updates(
            clients=tuple(sent),
            adapters=[part(one.adapter) for one in sent.values()],
            start=[part(self.start(members[client], one.share)) for client, one in sent.items()],
            origin=part(self.model.start),
            losses=torch.tensor(losses, dtype=torch.float64),
            sizes=sizes,
            heats=heats,
        )
        personal = self.model.scopes[names[0]] is Scope.PERSONAL
        # of a shared scope all rows are one
        return mix(rule, updates, None if personal else [0])

    def _is_gradient(self, name: str) -> bool:
        return self.model.gradients and self.model.scopes[name] in (Scope.SHARED, Scope.GROUP)

    def _starts(
        self, name: str, sent: Mapping[str, Contribution], members: Mapping[str, Member], codes: Tensor
    ) -> Tensor:
        """The tensor that each contributor's round began with, [n, ...]."""
        scope = self.model.scopes[name]
        if scope is Scope.SHARED:
            return self.shared[name].expand(len(sent), *self.shared[name].shape)
        if scope is Scope.GROUP:
            return self.tables[name][codes[:, self._attributes.index(group_of(name) or "")]]
        return torch.stack([self.start(members[client], one.share)[name] for client, one in sent.items()])

    def _codes(self, sent: Mapping[str, Contribution], members: Mapping[str, Member]) -> Tensor:
        """The contributors' values of every attribute, int64 [n, attributes]."""
        rows = [members[client].facts.groups for client in sent]
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), len(self._attributes))

    def _row(self, name: str, member: Member) -> int:
        return member.facts.groups[self._attributes.index(group_of(name) or "")]

    def _rows(self, tables: Adapter, members: Sequence[Member]) -> tuple[Adapter, dict[str, list[int]]]:
        present = {
            attribute: sorted({member.facts.groups[place] for member in members})
            for place, attribute in enumerate(self._attributes)
        }
        found = {name: table[present[group_of(name) or ""]] for name, table in tables.items()}
        used = {group_of(name) for name in tables}
        return found, {attribute: rows for attribute, rows in present.items() if attribute in used}


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _rule_state(rule: object) -> dict[str, Tensor]:
    return rule.state_dict() if isinstance(rule, TableRule) else {}
