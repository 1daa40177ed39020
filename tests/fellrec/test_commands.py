"""Every command: a help with an example that the command itself understands; completion for shells."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

import click
import pytest
import typer
from typer.testing import CliRunner

from common.errors import DataError
from fellrec import cli
from fellrec.cli import app

ROOT = typer.main.get_command(app)


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from walk(inner, (*path, name))
    else:
        yield path, command


COMMANDS = dict(walk(ROOT))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does_with_an_example_that_it_understands(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0 and f"Usage: root {' '.join(path)}" in done.output
    examples = re.findall(r"^ *Example: (.+(?:\n {2,}(?!Example)\S.*)*)", COMMANDS[path].help, re.MULTILINE)
    assert examples, "no example"
    for example in examples:
        words = shlex.split(" ".join(example.split()))
        assert words[0] == "fellrec" and tuple(words[1 : 1 + len(path)]) == path, example
        # parses the example, calls nothing
        COMMANDS[path].make_context(" ".join(path), words[1 + len(path) :])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_told(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        assert parameter.help, parameter.name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = CliRunner().invoke(app, ["--show-completion", shell], prog_name="fellrec")
    assert done.exit_code == 0 and "_FELLREC_COMPLETE" in done.output


def test_a_word_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"_FELLREC_COMPLETE": "complete_bash", "COMP_WORDS": "fellrec rec", "COMP_CWORD": "1"}
    done = CliRunner().invoke(app, [], prog_name="fellrec", env=words | {"PATH": os.environ["PATH"]})
    assert done.output.split() == ["recommend"]


def test_an_error_ends_with_its_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for error, line in (
        (DataError("no item 'x'", "the nearest is 'y'"), "fellrec: no item 'x' (the nearest is 'y') [FR200]\n"),
        (DataError("no item 'x'"), "fellrec: no item 'x' [FR200]\n"),
    ):

        def fail(raised: DataError = error) -> None:
            raise raised

        monkeypatch.setattr(cli, "app", fail)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1 and capsys.readouterr().err == line
