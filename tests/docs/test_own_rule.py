"""docs/own-rule.md: its files, put in place in a copy of the code, mix as they say they do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.docs.own_rule import with_own_rules

CLIENTS, ROUNDS = [f"toy-{number}" for number in range(4)], 3


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_own_rules(tmp_path_factory.mktemp("copy") / "fellrec")


def adapters(copy: Path, folder: Path, strategy: str, options: str) -> np.lib.npyio.NpzFile:
    out = folder / "adapters.npz"
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.own_rule_run", str(folder / "home"), str(out), strategy, options],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return np.load(out)


def sent(found: np.lib.npyio.NpzFile, number: int) -> np.ndarray:
    return np.stack([found[f"in/{number}/{client}"].astype(np.float64) for client in CLIENTS])


@pytest.mark.parametrize("others", [1, 2])
def test_one_file_mixes_as_the_page_says_by_its_setting(copy: Path, tmp_path: Path, others: int) -> None:
    found = adapters(copy, tmp_path, "nearest", f"others={others}")
    origin, neighbours = found["out/1/toy-0"].astype(np.float64), set()
    for number in range(1, ROUNDS):
        came = sent(found, number)
        change = came - origin
        lengths = np.linalg.norm(change, axis=1)
        cosines = change @ change.T / lengths / lengths[:, None]
        np.fill_diagonal(cosines, -2.0)
        for place, client in enumerate(CLIENTS):
            nearest = np.argsort(-cosines[place])[:others]
            neighbours |= {(place, int(one)) for one in nearest}
            mixed = found[f"out/{number + 1}/{client}"]
            assert np.allclose(mixed, came[[place, *nearest]].mean(axis=0), rtol=1e-5, atol=1e-7), (number, client)
            assert not np.allclose(mixed, came.mean(axis=0), rtol=1e-3, atol=1e-5)
    assert len({nearest for _, nearest in neighbours}) > 1, "one client is everybody's nearest: the test shows little"


@pytest.mark.parametrize(("share", "out"), [(0.5, 1), (0.1, 0)])
def test_a_rule_without_a_matrix_is_one_file_too(copy: Path, tmp_path: Path, share: float, out: int) -> None:
    found = adapters(copy, tmp_path, "middle", f"share={share}")
    for number in range(1, ROUNDS):
        wanted = np.sort(sent(found, number), axis=0)[out : len(CLIENTS) - out].mean(axis=0)
        for client in CLIENTS:
            assert np.allclose(found[f"out/{number + 1}/{client}"], wanted, rtol=1e-5, atol=1e-7), (number, client)


def test_the_projects_own_tests_of_rules_take_the_new_ones_in(copy: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/server_app/aggregation/test_rules.py",
            "-k",
            "nearest or middle",
        ],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "4 passed" in done.stdout, done.stdout[-500:]
