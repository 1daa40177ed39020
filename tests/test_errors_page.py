"""docs/errors.md: every code has its section, in the words of its class, with a remedy."""

from __future__ import annotations

import re
from pathlib import Path

from client_app.app import UNEXPECTED
from common.errors import FellrecError

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "errors.md").read_text(encoding="utf-8")


def sections() -> dict[str, str]:
    found = re.split(r"^## (FR\d{3})\n", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def kinds(base: type[FellrecError]) -> list[type[FellrecError]]:
    return [kind for one in base.__subclasses__() for kind in (one, *kinds(one)) if kind.__module__ == "common.errors"]


def test_every_class_has_a_code_of_its_own_and_a_section_in_its_words() -> None:
    classes = kinds(FellrecError)
    assert len({kind.code for kind in classes}) == len(classes) >= 8
    for kind in classes:
        assert " ".join(kind.__doc__.split("\n\n")[0].split()) in sections()[kind.code]
    assert set(sections()) == {kind.code for kind in classes} | {f"FR{UNEXPECTED}"}


def test_every_section_says_how_to_resolve_it() -> None:
    for code, text in sections().items():
        assert len(text.split("**How to resolve.**")[1].split()) > 15, code


def test_the_example_is_what_the_command_says() -> None:
    from typer.testing import CliRunner

    from fellrec.cli import app

    done = CliRunner().invoke(app, ["check", "demo", "--set", "train.learning-rat=1"])
    error = done.exception
    assert f"fellrec: {error.message} ({error.hint}) [{error.code}]" in PAGE
