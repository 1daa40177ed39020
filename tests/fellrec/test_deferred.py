"""fellrec/deferred.py: a module is imported by the first of its names that is asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fellrec.deferred import Deferred


def test_a_module_is_imported_when_it_is_first_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deferred_for_a_test.py").write_text("ANSWER = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "deferred_for_a_test", raising=False)
    module = Deferred("deferred_for_a_test")
    assert "deferred_for_a_test" not in sys.modules
    assert module.ANSWER == 42 and "deferred_for_a_test" in sys.modules
    with pytest.raises(AttributeError, match="QUESTION"):
        _ = module.QUESTION
