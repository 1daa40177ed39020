"""A built wheel, installed where no checkout is: its command finds recipes and gives Flower the same app."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from common.run_folder import RunFolder
from common.version import VERSION
from fellrec.flower import tool, write_settings
from tests.federation import tiny_settings

pytestmark = pytest.mark.xdist_group("flower")
CHECKOUT = Path(__file__).resolve().parents[1]
MAIN = "from fellrec.cli import main; main()"
BUILD = (
    "import subprocess, sys; from fellrec.flower_app import app_folder\n"
    "with app_folder() as app: subprocess.run([sys.argv[1], 'build', '--app', app], check=True)"
)


def python(installed: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A Python that has the wheel alone, in a folder outside of the checkout."""
    elsewhere = home.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    environment = os.environ | {"FELLREC_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(installed)}
    environment.pop("FELLREC_COMMIT", None)
    return subprocess.run(
        [sys.executable, "-P", "-c", *words],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )


def fellrec(installed: Path, home: Path, *words: str) -> str:
    done = python(installed, home, MAIN, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_is_there_and_has_the_recipes(installed: Path, fellrec_home: Path) -> None:
    assert "compare" in fellrec(installed, fellrec_home, "--help")
    assert 'data.sets = "sample:5"' in fellrec(installed, fellrec_home, "check", "demo")
    refused = python(installed, fellrec_home, MAIN, "check", "nothing")
    names = {path.stem for path in (CHECKOUT / "recipes").glob("*.toml")}
    assert refused.returncode == 1 and set(refused.stderr.split("one of: ")[1].split(")")[0].split(", ")) == names


def test_its_types_are_told_to_whoever_imports_it(installed: Path) -> None:
    assert all((installed / name / "py.typed").is_file() for name in ("client_app", "common", "fellrec", "server_app"))


def test_flower_gets_the_app_that_it_gets_from_the_checkout(installed: Path, fellrec_home: Path) -> None:
    done = python(installed, fellrec_home, BUILD, tool("flwr"))
    assert done.returncode == 0, done.stdout + done.stderr
    (bundle,) = (fellrec_home.parent / "elsewhere").glob("*.fab")
    here = fellrec_home.parent / "here"
    here.mkdir()
    subprocess.run([tool("flwr"), "build", "--app", str(CHECKOUT)], cwd=here, check=True, timeout=120)
    (own,) = here.glob("*.fab")
    assert "server_app/app.py" in zipfile.ZipFile(bundle).namelist()
    assert zipfile.ZipFile(bundle).read(".info/CONTENT") == zipfile.ZipFile(own).read(".info/CONTENT")


@pytest.mark.live
def test_it_runs_and_compares(installed: Path, fellrec_home: Path) -> None:
    settings = tiny_settings(
        fellrec_home, num_server_rounds=1, federation__timeout=120.0, federation__nodes_timeout=120.0
    )
    recipe = str(write_settings(fellrec_home / "recipe.toml", settings))
    fellrec(installed, fellrec_home, "run", recipe, "--set", "run-name=one")
    result = RunFolder.find("one", str(fellrec_home)).result()
    assert result["metrics"]["clients"] and result["run"]["commit"] == f"v{VERSION}"
    told = fellrec(installed, fellrec_home, "compare", recipe, "--strategies", "local", "--seeds", "1", "--as", "two")
    assert "| local" in told
