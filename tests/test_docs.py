"""README and docs: what they name exists, links lead somewhere, the nav has every page, and generated pages are up to date."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import fellrec
from common.config import RunConfig, flatten, from_flat
from common.scopes import SCOPES
from fellrec.recipes import flat
from fellrec.reference import reference
from tests.docs.pages import CHECKOUT, blocks, pages

LINKED = [*pages(), "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
DOCS = CHECKOUT / "docs"
SETTINGS = dict(flatten(RunConfig()))


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", (CHECKOUT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """What links may name of a page: its headings as a forge and MkDocs write them."""
    headings = re.findall(r"^#+ (.+)$", prose(path.relative_to(CHECKOUT).as_posix()), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def nav(entries: list) -> list[str]:
    """The pages of a navigation, in order."""
    found = []
    for entry in entries:
        (inner,) = entry.values()
        found += nav(inner) if isinstance(inner, list) else [inner]
    return found


def test_the_configuration_reference_is_what_the_configuration_gives() -> None:
    assert (DOCS / "configuration.md").read_text() == reference()


@pytest.mark.parametrize("page", LINKED)
def test_every_relative_link_and_its_anchor_is_there(page: str) -> None:
    at = (CHECKOUT / page).parent
    for target, _, anchor in re.findall(r"\]\(((?!https?:)[^)#]*)(#?)([^)]*)\)", prose(page)):
        path = (at / target).resolve() if target else CHECKOUT / page
        assert path.exists() and path.is_relative_to(CHECKOUT), f"{page}: {target}"
        assert not anchor or anchor in anchors(path), f"{page}: {target}#{anchor}, there is {sorted(anchors(path))}"


def test_the_nav_has_every_page_once_and_no_other() -> None:
    site = yaml.safe_load((CHECKOUT / "mkdocs.yml").read_text())
    listed = nav(site["nav"])
    # mkdocs_hooks.py makes deploy.md of deploy/README.md
    assert sorted(listed) == sorted([*(path.name for path in DOCS.glob("*.md")), "deploy.md"])
    assert listed[0] == "index.md" and "deploy.md" not in {path.name for path in DOCS.glob("*.md")}
    assert all((CHECKOUT / hook).is_file() for hook in site["hooks"])


def test_the_first_page_leads_to_every_other() -> None:
    text = (DOCS / "index.md").read_text()
    assert all(f"({path.name})" in text for path in DOCS.glob("*.md") if path.name != "index.md")


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    build = pytest.importorskip("mkdocs.commands.build", reason="mkdocs is not installed")
    config = pytest.importorskip("mkdocs.config").load_config(
        str(CHECKOUT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path)
    )
    build.build(config)
    assert (tmp_path / "deploy" / "index.html").is_file()


def test_every_recipe_and_strategy_is_in_the_readme() -> None:
    readme = (CHECKOUT / "README.md").read_text()
    rows = re.findall(r"^\| ((?:`[a-z0-9-]+`,? )+)\|", readme, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}
    assert {path.stem for path in (CHECKOUT / "recipes").glob("*.toml")} <= listed
    for strategy in SCOPES:
        assert f"`{strategy}`" in readme


@pytest.mark.parametrize("page", [page for page in pages() if page != "docs/configuration.md"])
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    sections = "|".join(sorted({key.partition(".")[0] for key in SETTINGS if "." in key}))
    named = re.findall(rf"--set ([a-z0-9.-]+)=|`((?:{sections})\.(?!crt`)[a-z][a-z0-9-]+)(?: ?=[^`]*)?`", text)
    for one, other in named:
        # `fellrec.run` is what Python calls, and no setting of the section of that name
        called = other.removeprefix("fellrec.") in fellrec.__all__
        assert called or (one or other) in SETTINGS, f"{page}: {one or other}"
    assert named or page != "README.md"


@pytest.mark.parametrize("page", pages())
def test_every_recipe_that_a_page_shows_is_one(page: str) -> None:
    for block in blocks(page):
        if block.language == "toml" and "superlink" not in block.text:
            assert from_flat(flat(tomllib.loads(block.text))).recipe
