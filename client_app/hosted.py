"""The hosted middle layers as one client's task sees them: which candidate it talks to, and when they take a step.

:class:`Whole` stands in where the client runs the whole model, so that training need not ask which it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import nn

from client_app.link import LinkSettings, SplitLink
from client_app.trunk import RemoteTrunk
from common.config import RunConfig, Value
from common.cut import digest, set_trunk
from common.errors import ConfigError, MessageError
from common.messages import Task
from common.models import resolve
from common.wire import CREDITS, Codec


class Middle(Protocol):
    """What a task does with the middle layers; ``ahead`` micro-batches may be under way at once."""

    ahead: int

    def use(self, share: float) -> None:
        """From now on the middle layers carry the candidate of this own share."""

    def step(self, rate: float) -> None:
        """One optimiser step of the middle layers' adapter, where it is not the client's own optimiser's."""

    def traffic(self) -> dict[str, float]:
        """Bytes ``up`` and ``down`` so far."""

    def leave_out(self) -> None:
        """Puts nothing in the middle layers' place, where they are hosted: what is left is the client's own work."""

    def close(self) -> None:
        """Ends all connections."""


class Whole:
    """The client runs all layers itself."""

    ahead = 1

    def use(self, share: float) -> None:
        pass

    def step(self, rate: float) -> None:
        pass

    def traffic(self) -> dict[str, float]:
        return {}

    def leave_out(self) -> None:
        pass

    def close(self) -> None:
        pass


class Hosted:
    """The server hosts the middle layers: one link per candidate, opened when it is first used.

    Raises
    ------
    MessageError : the task leads to no hosted layers.
    ConfigError : the root certificate cannot be read, or the service is plaintext on another machine.
    """

    ahead = CREDITS

    def __init__(
        self, backbone: nn.Module, task: Task, config: RunConfig, node: Mapping[str, Value], training: bool
    ) -> None:
        if task.doors is None:
            raise MessageError(
                "the task leads to no hosted layers, but 'split.on' = True", "server and client must agree"
            )
        self._backbone, self._doors = backbone, task.doors
        self._root = _root_certificate(node)
        self._settings = LinkSettings(
            digest=digest(resolve(config.model.name)),
            k=config.split.k,
            m=config.split.m,
            hidden_size=backbone.config.hidden_size,
            codec=Codec(config.split.codec),
            training=training,
        )
        self._links: dict[float, SplitLink] = {}
        self._current: SplitLink | None = None

    def use(self, share: float) -> None:
        if share not in self._doors.tokens:
            raise MessageError(f"own share {share!r} has no token", f"the server offers {sorted(self._doors.tokens)}")
        if share not in self._links:
            self._links[share] = SplitLink(self._doors.address, self._doors.tokens[share], self._settings, self._root)
        self._current = self._links[share]
        set_trunk(self._backbone, RemoteTrunk(self._current))

    def step(self, rate: float) -> None:
        if self._current is None:
            raise MessageError("a step before any candidate was chosen", "call use() first")
        self._current.step(rate)

    def traffic(self) -> dict[str, float]:
        links = self._links.values()
        return {"up": sum(link.bytes_up for link in links), "down": sum(link.bytes_down for link in links)}

    def leave_out(self) -> None:
        set_trunk(self._backbone, lambda hidden, mask, positions: hidden)

    def close(self) -> None:
        set_trunk(self._backbone, None)
        for link in self._links.values():
            link.close()


def _root_certificate(node: Mapping[str, Value]) -> bytes | None:
    path = str(node.get("split-root-certificate", ""))
    if not path:
        return None
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"node configuration: 'split-root-certificate' = {path!r} cannot be read: {error}") from error
