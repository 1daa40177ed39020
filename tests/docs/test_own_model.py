"""docs/own-model.md: what its table says is taken, the code takes, and nothing else."""

from __future__ import annotations

import re

from common.cut import FAMILIES
from tests.docs.pages import CHECKOUT


def test_the_table_of_architectures_is_that_of_the_code() -> None:
    text = (CHECKOUT / "docs" / "own-model.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+`) \| (yes.*?) \| (yes|no).*? \|$", text, re.MULTILINE)
    said = {kind: generative == "yes" for kinds, _, generative in rows for kind in re.findall(r"`([\w-]+)`", kinds)}
    assert said == {kind: family.causal for kind, family in FAMILIES.items()}
