"""fellrec/live/place.py: the newest run is looked up anew, a name and a file are checked at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import RunConfig
from common.errors import ConfigError, RunError
from common.run_folder import RunFolder
from fellrec.live.place import place


def test_latest_waits_for_a_run_and_goes_on_to_the_next(fellrec_home: Path) -> None:
    look = place("latest", None)
    assert look() is None
    for name in ("one", "two"):
        folder = RunFolder.create(RunConfig(run_name=name), "")
        assert look() == folder.events_path.resolve()


def test_a_run_is_found_by_its_name_and_a_log_by_its_path(fellrec_home: Path, tmp_path: Path) -> None:
    folder = RunFolder.create(RunConfig(run_name="one"), "")
    assert place("one", None)() == folder.events_path.resolve()
    with pytest.raises(RunError, match="no run 'two'"):
        place("two", None)
    with pytest.raises(ConfigError, match="--events"):
        place("latest", tmp_path / "copy.jsonl")
    (tmp_path / "copy.jsonl").touch()
    assert place("two", tmp_path / "copy.jsonl")() == tmp_path / "copy.jsonl"
