"""What the server trains where one user is one client: shared tensors, a table by group, and their optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from common.config import FedpaConfig
from common.errors import RunError
from common.low_rank import Adapter
from common.recommenders.click_build import ClickRun
from common.scopes import Scope
from server_app.aggregation.gradients import ServerAdam, mean_by_group


class CrowdState:
    """The run's own tensors.

    Attributes
    ----------
    shared : one for all clients. tables : [values, ...] of each group tensor's attribute.
    """

    def __init__(self, click: ClickRun, config: FedpaConfig) -> None:
        self._click, self._config, self._adam = click, config, ServerAdam()
        self._attributes = list(click.groups)
        self.shared: Adapter = click.start(Scope.SHARED)
        self.tables: Adapter = {
            name: tensor.expand(click.groups[click.group_of(name) or ""], *tensor.shape).clone()
            for name, tensor in click.start(Scope.GROUP).items()
        }

    @property
    def mixes(self) -> bool:
        """Whether anything that one client sends reaches others."""
        return bool(self.shared or self.tables)

    def for_clients(self, codes: Sequence[Sequence[int]]) -> tuple[Adapter, Adapter, dict[str, list[int]]]:
        """Shared tensors, the tables' rows that clients with these codes need, and which rows those are by attribute."""
        present = {a: sorted({own[place] for own in codes}) for place, a in enumerate(self._attributes)}
        tables = {name: table[present[self._click.group_of(name) or ""]] for name, table in self.tables.items()}
        used = {self._click.group_of(name) for name in tables}
        return dict(self.shared), tables, {a: rows for a, rows in present.items() if a in used}

    def check(self, upload: Mapping[str, Tensor], clients: int) -> str:
        """What is wrong with an upload's names, shapes or dtypes; empty where nothing is."""
        expected = {name: tensor.shape for name, tensor in self.shared.items()}
        expected |= {name: table.shape[1:] for name, table in self.tables.items()}
        if clients and upload.keys() != expected.keys():
            return f"tensor {sorted(upload.keys() ^ expected.keys())[0]!r} is not on both sides"
        for name, tensor in upload.items():
            if tensor.shape != (clients, *expected[name]) or tensor.dtype != torch.float32:
                return f"tensor {name!r} is {tensor.dtype} of shape {tuple(tensor.shape)!r} for {clients} clients"
        return ""

    def step(
        self, upload: Mapping[str, Tensor], codes: Sequence[Sequence[int]], weights: Sequence[float]
    ) -> dict[str, list[int]]:
        """One step along the mean gradients [clients, ...]; the participants of each group by attribute.

        Raises
        ------
        MessageError : values that are not finite.
        """
        shares, members = torch.tensor(weights, dtype=torch.float64), {}
        of_all = torch.zeros(len(shares), dtype=torch.int64)
        groups = torch.tensor(codes, dtype=torch.int64).reshape(len(shares), len(self._attributes))
        for name, tensor in self.shared.items():
            mean, _ = mean_by_group(upload[name], of_all, shares, 1)
            moved = self._adam.step(
                name, tensor[None], mean, torch.ones(1, dtype=torch.bool), self._config.shared_learning_rate
            )
            self.shared[name] = moved[0]
        for name, table in self.tables.items():
            attribute = self._click.group_of(name) or ""
            own = groups[:, self._attributes.index(attribute)]
            mean, counted = mean_by_group(upload[name], own, shares, len(table))
            self.tables[name] = self._adam.step(name, table, mean, counted > 0, self._config.group_learning_rate)
            members[attribute] = counted.tolist()
        return members

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next round depends on, for a checkpoint."""
        kept = {f"shared/{name}": tensor for name, tensor in self.shared.items()}
        kept |= {f"table/{name}": tensor for name, tensor in self.tables.items()}
        return kept | {f"adam/{name}": tensor for name, tensor in self._adam.state_dict().items()}

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
        self._adam.load_state(
            {name.removeprefix("adam/"): tensor for name, tensor in tensors.items() if name.startswith("adam/")}
        )
