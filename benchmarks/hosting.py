"""A split service in a process of its own, and the links to it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from torch import Tensor, nn

from benchmarks.child import child, wait
from benchmarks.models import TARGETS
from client_app.link import SplitLink
from client_app.link_settings import LinkSettings
from common.cut import Cut, read_config, server_side, whole_name
from server_app.split.host import SplitHost
from server_app.split.settings import HostedLora, HostSettings, Limits

RATE = 1e-3
SEED = 0
TOKEN_SECONDS = 3600.0


class Identity(nn.Module):
    """Hosted layers that compute nothing; a service hosts nothing without a layer for LoRA, so there is an idle one."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(1, 1)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None) -> Tensor:
        return hidden


@dataclass(frozen=True)
class Hosted:
    """What a service hosts: the middle layers of the model in ``folder``; None for layers that compute nothing."""

    folder: Path | None
    width: int
    kind: str = "bert"
    cut: Cut = Cut(1, 1)
    batch_clients: int = 1
    limits: Limits = field(default_factory=Limits)

    @property
    def link_settings(self) -> LinkSettings:
        """Of a client that means this service."""
        return LinkSettings(str(self.folder), self.cut.k, self.cut.m, self.width)


@dataclass(frozen=True)
class Door:
    """Where a service listens, and a token for each client; each has a round open."""

    hosted: Hosted
    address: str
    tokens: Mapping[str, str]

    @contextmanager
    def links(self) -> Iterator[list[SplitLink]]:
        """One connected link per client."""
        with ExitStack() as stack:
            made = [SplitLink(self.address, token, self.hosted.link_settings) for token in self.tokens.values()]
            for link in made:
                stack.enter_context(link)
                link.connect()
            yield made


@contextmanager
def service(hosted: Hosted, clients: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Door]:
    """Runs a service until the end of the block."""
    with child(_serve, hosted, tuple(clients), environment=environment) as (_, (address, tokens)):
        yield Door(hosted, address, tokens)


def _serve(connection: Connection, hosted: Hosted, clients: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as state:
        host = host_of(hosted, Path(state))
        address = host.start()
        for client in clients:
            host.begin(client, 1, RATE, SEED)
        connection.send((address, {client: host.mint(client, TOKEN_SECONDS) for client in clients}))
        wait(connection)
        host.stop(0)


def host_of(hosted: Hosted, state: Path, port: int = 0) -> SplitHost:
    """A service in this process, not started."""
    settings = HostSettings(
        run="benchmark",
        digest=str(hosted.folder),
        k=hosted.cut.k,
        m=hosted.cut.m,
        hidden_size=hosted.width,
        lora=HostedLora(TARGETS[hosted.kind]),
        limits=hosted.limits,
        batch_clients=hosted.batch_clients,
        port=port,
    )
    if hosted.folder is None:
        return SplitHost(Identity(), settings, state)
    config, cut = read_config(hosted.folder), hosted.cut
    return SplitHost(
        server_side(hosted.folder, cut),
        settings,
        state,
        whole_name=lambda name: whole_name(name, "server", cut, config),
    )
