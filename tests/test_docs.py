"""README and docs: what they name exists, and generated pages are up to date."""

from __future__ import annotations

import re
from pathlib import Path

from common.config import RunConfig, flatten
from common.scopes import ADAPTER_SCOPE
from fellrec.reference import reference

CHECKOUT = Path(__file__).resolve().parents[1]


def test_the_configuration_reference_is_what_the_configuration_gives() -> None:
    assert (CHECKOUT / "docs" / "configuration.md").read_text() == reference()


def test_every_link_and_every_recipe_in_the_readme_is_there() -> None:
    readme = (CHECKOUT / "README.md").read_text()
    for target in re.findall(r"\]\(((?!http|#)[^)]+)\)", readme):
        assert (CHECKOUT / target).exists(), target
    rows = re.findall(r"^\| ((?:`[a-z0-9-]+`,? )+)\|", readme, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}
    assert {path.stem for path in (CHECKOUT / "recipes").glob("*.toml")} <= listed
    for strategy in ADAPTER_SCOPE:
        assert f"`{strategy}`" in readme


def test_every_setting_named_in_the_readme_exists() -> None:
    known = dict(flatten(RunConfig()))
    named = re.findall(
        r"--set ([a-z.-]+)=|`((?:data|model|train|evaluate|strategy|fellrec)\.[a-z-]+)`",
        (CHECKOUT / "README.md").read_text(),
    )
    assert named and all((one or other) in known for one, other in named)
