from __future__ import annotations

from pathlib import Path

import pytest

from tests.common.cut.tiny import save_tiny


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remembered digests go to a folder of the test's own."""
    monkeypatch.setenv("FELLREC_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """Folders of tiny models, each saved once."""
    saved: dict[tuple[str, bool], Path] = {}

    def folder(family: str, causal: bool = False) -> Path:
        key = family, causal
        if key not in saved:
            saved[key] = save_tiny(family, tmp_path_factory.mktemp(family), causal)
        return saved[key]

    return folder
