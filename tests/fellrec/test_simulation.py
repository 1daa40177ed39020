"""fellrec/simulation.py: what cannot work is refused before Flower is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from common.config import from_flat
from common.errors import ConfigError, ModelError
from fellrec import simulation
from tests.federation import tiny_causal_settings, tiny_settings


@pytest.fixture(autouse=True)
def no_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "own_superlink", lambda: pytest.fail("Flower was started"))


def test_a_prompt_that_does_not_fit_starts_nothing(fellrec_home: Path) -> None:
    flat = tiny_causal_settings(fellrec_home, model__max_tokens=40)
    with pytest.raises(ConfigError, match="'model.max-tokens' = 40"):
        simulation.simulate(flat, from_flat(flat), 1, 1, Console(quiet=True))


def test_a_cut_that_the_model_does_not_have_starts_nothing(fellrec_home: Path) -> None:
    flat = tiny_settings(fellrec_home, split__on=True, split__k=9)
    with pytest.raises(ModelError, match="cut k=9, m=1 is impossible"):
        simulation.simulate(flat, from_flat(flat), 1, 1, Console(quiet=True))
