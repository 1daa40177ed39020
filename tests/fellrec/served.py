"""Finished runs of the tiny federation, made once for all tests of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from common.run_folder import RunFolder
from tests.clicks import click_settings
from tests.federation import federate, tiny_causal_settings, tiny_settings

MAKERS: dict[str, Callable[..., dict]] = {
    "encoder": tiny_settings,
    "generative": tiny_causal_settings,
    "click": click_settings,
}


class Runs:
    """Runs by kind and settings, each in a home of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, {}

    def get(self, kind: str, **overrides: object) -> RunFolder:
        """A run named ``one``."""
        key = f"{kind}-{sorted(overrides.items())}"
        if key not in self._made:
            home = self._folder / f"home-{len(self._made)}"
            federate(MAKERS[kind](home, run_name="one", **overrides))
            self._made[key] = RunFolder.find("one", str(home))
        return self._made[key]
