"""For all tests: Flower's messages need to know a run, and torch one thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

# Flower refuses to make a message outside one of its own processes; this private identity is set here and nowhere else.
from flwr.supercore.task_identity import TaskIdentity

torch.set_num_threads(1)
CHECKOUT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers are dealt whole files, as their fixtures are made once, the longest first; what starts Flower is one group."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    long = {_group(item) for item in items if item.get_closest_marker("live")}
    items.sort(key=lambda item: _group(item) not in long)


def _group(item: pytest.Item) -> str:
    return next(item.iter_markers("xdist_group")).args[0]


@pytest.fixture(autouse=True, scope="session")
def _flower_identity() -> None:
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1


@pytest.fixture
def fellrec_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A $FELLREC_HOME of the test's own."""
    home = tmp_path / "home"
    monkeypatch.setenv("FELLREC_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built wheel's packages: on PYTHONPATH they go before the editable ones of the tests' environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(CHECKOUT)]
    subprocess.run(build, check=True, timeout=120)
    (wheel,) = folder.glob("fellrec-*.whl")
    install = [*pip, "install", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel)]
    subprocess.run(install, check=True, timeout=120)
    return folder / "site"
