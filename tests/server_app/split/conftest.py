"""Models are saved once for all tests of the split service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.cut import Cut
from server_app.split.host import SplitHost
from tests.server_app.split.tiny import KINDS, host_for, model_folder

CUT = Cut(1, 1)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each kind of tiny model."""
    root = tmp_path_factory.mktemp("models")
    return {kind: model_folder(kind, root / kind) for kind in KINDS}


@pytest.fixture
def make_host(folders: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., SplitHost]]:
    """Makes hosts of BERT cut at (1, 1), unless told otherwise; stops them at the end."""
    hosts: list[SplitHost] = []

    def make(kind: str = "bert", cut: Cut = CUT, state: str = "state", **changes: object) -> SplitHost:
        hosts.append(host_for(folders[kind], kind, cut, tmp_path / state, **changes))
        return hosts[-1]

    yield make
    for host in hosts:
        host.stop(0)
