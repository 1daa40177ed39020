"""The hosted middle layers as one client's task sees them: which candidate it talks to, and when they take a step.

:class:`Whole` stands in where the client runs the whole model, so that training need not ask which it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Protocol

from torch import nn

from client_app.link import SplitLink
from client_app.link_settings import LinkSettings
from client_app.trunk import RemoteTrunk
from common.certificates import read_authorities, read_pair
from common.config import RunConfig, Value
from common.cut import config_digest, digest, set_trunk
from common.errors import ConfigError, MessageError
from common.messages import HostedAccess
from common.models import config_of, resolve
from common.wire import CREDITS, Codec

ROOT, CERTIFICATE, KEY = "split-root-certificate", "split-certificate", "split-key"
"""Node configuration: the authority of the service's certificate, and the node's own certificate and key."""


class Middle(Protocol):
    """What a task does with the middle layers; ``ahead`` micro-batches may be under way at once."""

    ahead: int

    def use(self, share: float) -> None:
        """From now on the middle layers carry the candidate of this own share."""

    def step(self, rate: float) -> None:
        """One optimiser step of the middle layers' adapter, where it is not the client's own optimiser's."""

    def steps(self) -> int:
        """Optimiser steps that the middle layers' adapter has made in this task, once they are made."""

    def traffic(self) -> dict[str, float]:
        """Bytes ``up`` and ``down`` so far."""

    def waited(self) -> float:
        """Seconds spent waiting for the middle layers so far."""

    def leave_out(self) -> None:
        """Puts nothing in the middle layers' place, where they are hosted: what is left is the client's own work."""

    def base(self) -> AbstractContextManager[None]:
        """Entered, the middle layers compute without any adapter."""

    def close(self) -> None:
        """Ends all connections."""


class Whole:
    """The client runs all layers itself."""

    ahead = 1

    def use(self, share: float) -> None:
        pass

    def step(self, rate: float) -> None:
        pass

    def steps(self) -> int:
        return 0

    def traffic(self) -> dict[str, float]:
        return {}

    def waited(self) -> float:
        return 0.0

    def leave_out(self) -> None:
        pass

    def base(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        pass


class Hosted:
    """The server hosts the middle layers: one link per candidate, opened when it is first used.

    Raises
    ------
    MessageError : the task leads to no hosted layers.
    ConfigError : a certificate or key cannot be read or is not valid, or the service is plaintext on another machine.
    """

    ahead = CREDITS

    def __init__(
        self,
        backbone: nn.Module,
        access: HostedAccess | None,
        config: RunConfig,
        node: Mapping[str, Value],
        training: bool,
    ) -> None:
        if access is None:
            raise MessageError(
                "the task leads to no hosted layers, but 'split.on' = True", "server and client must agree"
            )
        self._backbone, self._access = backbone, access
        self._root, self._pair = _certificates(node)
        folder = resolve(config.model.name)
        self._settings = LinkSettings(
            digest=digest(folder),
            config=config_digest(folder),
            k=config.split.k,
            m=config.split.m,
            hidden_size=config_of(backbone).hidden_size,
            codec=Codec(config.split.codec),
            training=training,
        )
        self._links: dict[float, SplitLink] = {}
        self._current: SplitLink | None = None
        self._trunk: RemoteTrunk | None = None

    def use(self, share: float) -> None:
        if share not in self._access.tokens:
            raise MessageError(f"own share {share!r} has no token", f"the server offers {sorted(self._access.tokens)}")
        if share not in self._links:
            token = self._access.tokens[share]
            self._links[share] = SplitLink(self._access.address, token, self._settings, self._root, self._pair)
        self._current = self._links[share]
        self._trunk = RemoteTrunk(self._current)
        set_trunk(self._backbone, self._trunk)

    def step(self, rate: float) -> None:
        if self._current is None:
            raise MessageError("a step before any candidate was chosen", "call use() first")
        self._current.step(rate)

    def steps(self) -> int:
        if self._current is None:
            return 0
        self._current.flush()
        return self._current.step_number

    def waited(self) -> float:
        return sum(link.seconds for link in self._links.values())

    def traffic(self) -> dict[str, float]:
        links = self._links.values()
        return {"up": sum(link.bytes_up for link in links), "down": sum(link.bytes_down for link in links)}

    def base(self) -> AbstractContextManager[None]:
        if self._trunk is None:
            raise MessageError("the base model is asked before any candidate was chosen", "call use() first")
        return self._trunk.base()

    def leave_out(self) -> None:
        set_trunk(self._backbone, lambda hidden, mask, positions: hidden)

    def close(self) -> None:
        set_trunk(self._backbone, None)
        with ExitStack() as stack:
            for link in self._links.values():
                stack.callback(link.close)


def _certificates(node: Mapping[str, Value]) -> tuple[bytes | None, tuple[bytes, bytes] | None]:
    """The node's root certificate, and its own chain and key; None where it names none."""
    root, certificate, key = (str(node.get(name, "")) for name in (ROOT, CERTIFICATE, KEY))
    if bool(certificate) != bool(key):
        raise ConfigError(
            f"node configuration has {CERTIFICATE!r} = {certificate!r} and {KEY!r} = {key!r}", "give both, or neither"
        )
    if certificate and not root:
        raise ConfigError(
            f"node configuration has {CERTIFICATE!r} = {certificate!r}, but {ROOT!r} = ''",
            "give the authority of the service's certificate too",
        )
    authority = read_authorities(root, ROOT) if root else None
    return authority, read_pair(certificate, key, (CERTIFICATE, KEY)) if certificate else None
