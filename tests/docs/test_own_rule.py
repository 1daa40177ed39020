"""docs/own-rule.md: its file and its line, put in place in a copy of the code, mix as they say they do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.docs.own_rule import with_own_rule

CLIENTS, ROUNDS = [f"toy-{number}" for number in range(4)], 3


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_own_rule(tmp_path_factory.mktemp("copy") / "fellrec")


def test_one_file_and_one_line_mix_as_the_page_says(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapters.npz"
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.own_rule_run", str(tmp_path / "home"), str(out)],
        cwd=copy, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    adapters = np.load(out)
    origin = adapters["out/1/toy-0"].astype(np.float64)
    neighbours = set()
    for number in range(1, ROUNDS):
        sent = np.stack([adapters[f"in/{number}/{client}"].astype(np.float64) for client in CLIENTS])
        change = sent - origin
        for place, client in enumerate(CLIENTS):
            cosine = [
                -2.0 if other == place
                else change[place] @ change[other] / np.linalg.norm(change[place]) / np.linalg.norm(change[other])
                for other in range(len(CLIENTS))
            ]  # fmt: skip
            nearest = int(np.argmax(cosine))
            neighbours.add((place, nearest))
            mixed = adapters[f"out/{number + 1}/{client}"]
            assert np.allclose(mixed, (sent[place] + sent[nearest]) / 2, rtol=1e-5, atol=1e-7), (number, client)
            assert not np.allclose(mixed, sent.mean(axis=0), rtol=1e-3, atol=1e-5)
    assert len({nearest for _, nearest in neighbours}) > 1, "one client is everybody's nearest: the test shows little"


def test_the_projects_own_tests_of_rules_take_the_new_one_in(copy: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/server_app/aggregation/test_rules.py", "-k",
         "nearest", "tests/server_app/test_strategies.py"],
        cwd=copy, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert "3 passed" in done.stdout, done.stdout[-500:]
