"""The documents beside the README: versions agree, links lead somewhere, nothing is said that is not there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from common.version import VERSION
from fellrec.trackers import TRACKERS

CHECKOUT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/use.md", "docs/errors.md")


def test_one_version_everywhere() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text())
    assert project["version"] == cited["version"] == VERSION and cited["license"] == "Apache-2.0"
    assert cited["authors"] and {"cff-version", "message", "title"} <= cited.keys()
    assert VERSION in (CHECKOUT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_and_every_file_that_is_named_is_there(name: str) -> None:
    text, folder = (CHECKOUT / name).read_text(), (CHECKOUT / name).parent
    for target in re.findall(r"\]\(((?!http|#)[^)#]+)", text):
        assert (folder / target).exists(), target
    for target in re.findall(r"`((?:common|client_app|server_app|proto|docs)/[\w./-]+)`", text):
        assert (CHECKOUT / target).exists(), target
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert re.search(rf"^{target}:", (CHECKOUT / "Makefile").read_text(), re.MULTILINE), target
    assert not re.search(r"[\w.]+@[\w-]+\.\w+", text), "an address"


def test_every_tracker_is_an_extra_that_uv_leaves_alone() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    left_alone = {line.split(" ;")[0] for line in project["tool"]["uv"]["override-dependencies"]}
    for name in TRACKERS:
        wanted = {re.split(r"[<>=\[ ]", one)[0] for one in project["project"]["optional-dependencies"][name]}
        assert wanted and wanted <= left_alone


def test_every_dependency_is_left_alone_by_uv() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    left_alone = {line.split(" ;")[0] for line in project["tool"]["uv"]["override-dependencies"]}
    wanted = {re.split(r"[<>=\[ ]", one)[0] for one in project["project"]["dependencies"]}
    assert wanted <= left_alone, wanted - left_alone


def test_the_tested_versions_are_among_those_that_are_asked_for() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    asked = [Requirement(one) for one in project["project"]["dependencies"]]
    asked += [Requirement(one) for one in project["project"]["optional-dependencies"]["dev"]]
    assert {one.name for one in asked} <= {name.lower() for name in pinned}
    for one in asked:
        version = next(version for name, version in pinned.items() if name.lower() == one.name)
        assert one.specifier.contains(version), (str(one), version)
    assert project["tool"]["flwr"]["app"]["flwr-version-target"] == pinned["flwr"]
