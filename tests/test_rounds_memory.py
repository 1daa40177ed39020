"""A hundred rounds: neither the server's memory nor the clients' grows."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from server_app.strategy import FederatedRecommenders
from tests.apart import apart, serve
from tests.federation import tiny_settings

ROUNDS, WARM, GROWTH = 100, 40, 0.02


@pytest.mark.slow
def test_memory_does_not_grow_with_rounds(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_settings(fellrec_home, split__on=True, num_server_rounds=ROUNDS, train__examples=4)
    seen: dict[str, list[int]] = {"server": [], "clients": []}
    with apart(settings) as (grid, clients):
        plain = FederatedRecommenders._round

        def measured(self: FederatedRecommenders, *given: object) -> object:
            found = plain(self, *given)
            for side, process in (("server", psutil.Process()), ("clients", clients)):
                seen[side].append(process.memory_info().rss)
            return found

        monkeypatch.setattr(FederatedRecommenders, "_round", measured)
        serve(settings, grid)
    for side, sizes in seen.items():
        assert len(sizes) == ROUNDS
        growth = sizes[-1] / sizes[WARM - 1] - 1
        told = ", ".join(f"{size / 2**20:.1f}" for size in sizes[9::10])
        print(f"{side}: MiB after every tenth round: {told}; {growth:+.2%} from round {WARM} to {ROUNDS}")
        assert growth < GROWTH, (side, growth)
