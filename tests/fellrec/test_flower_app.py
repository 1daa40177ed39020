"""fellrec/flower_app.py: a checkout is given as it stands; what a wheel ships goes before the files of strangers."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.version import VERSION
from fellrec import flower, flower_app
from fellrec.flower_app import app_folder, root


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``site-packages`` with the wheel of a small app, and beside it the files of a package that has no manners."""
    made = {
        "common/a.py": "A",
        "common/inner/b.py": "B",
        "common/page.js": "",
        "other/c.py": "",
        "README.md": "a stranger's",
        "pyproject.toml": "[tool]",
        "fellrec/app/README.md": "ours",
        "fellrec/app/recipes/demo.toml": "seed = 1",
        "fellrec/app/pyproject.toml": '[tool.flwr.app]\nfab-include = ["common/**/*.py", "/README.md"]',
    }
    for name, text in made.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(flower_app, "PACKAGES", tmp_path)
    for module in (flower_app, flower):
        monkeypatch.setattr(module, "SHIPPED", tmp_path / "fellrec" / "app")
    return tmp_path


def test_a_checkout_is_given_as_it_stands() -> None:
    with app_folder() as app:
        assert app == root() and (app / "pyproject.toml").is_file() and (app / "recipes" / "demo.toml").is_file()


def test_an_installed_app_is_put_together_and_removed(shipped: Path) -> None:
    assert (root() / "recipes" / "demo.toml").is_file()
    with app_folder() as app:
        found = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
        assert found == {"common/a.py", "common/inner/b.py", "README.md", "pyproject.toml"}
        assert (app / "README.md").read_text() == "ours" and "fab-include" in (app / "pyproject.toml").read_text()
        assert app.name == "fellrec"
    assert not app.parent.exists()


def test_a_wheel_is_of_a_release_and_not_of_the_repository_around_it(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower, "commit", lambda: "a stranger's commit")
    assert flower.revision() == f"v{VERSION}"
