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
from fellrec.cli import COMMANDS as TABLE
from fellrec.cli import app
from fellrec.lazy_command import LazyCommand, first_line

ROOT = typer.main.get_command(app)


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, LazyCommand):
        yield from walk(command.loaded, path)
    elif isinstance(command, click.Group):
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
    assert " ".join(COMMANDS[path].help.split()).endswith(" ".join(examples[-1].split())), "it ends with something else"
    assert re.search(rf"^ *Example: fellrec {' '.join(path)}\b", done.output, re.MULTILINE)
    for example in examples:
        words = shlex.split(" ".join(example.split()))
        assert words[0] == "fellrec" and tuple(words[1 : 1 + len(path)]) == path, example
        # parses the example, calls nothing
        COMMANDS[path].make_context(" ".join(path), words[1 + len(path) :])


@pytest.mark.parametrize("name", TABLE)
def test_the_table_says_of_a_command_what_its_own_help_says_first(name: str) -> None:
    command = ROOT.commands[name]
    assert isinstance(command, LazyCommand) and command.loaded.name == name
    assert command.short_help == first_line(command.loaded) == TABLE[name][1]


def test_the_help_holds_every_line_of_the_table() -> None:
    said = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert len(TABLE) > 15 and all(f" {name} {summary}" in said for name, (_, summary) in TABLE.items())


def test_a_group_within_says_the_whole_line_too() -> None:
    said = " ".join(CliRunner().invoke(app, ["data", "--help"]).output.split())
    inner = [command for path, command in COMMANDS.items() if path[0] == "data"]
    assert len(inner) == 3 and all(first_line(command) in said for command in inner)
    assert said.endswith("Example: fellrec data show sample")


def test_without_a_command_there_is_the_help() -> None:
    assert CliRunner().invoke(app, []).output.startswith("Usage: root [OPTIONS] COMMAND")


@pytest.mark.parametrize(("typed", "meant"), [(["repot"], "report"), (["data", "lst"], "list")])
def test_a_command_that_is_not_there_brings_up_the_nearest(typed: list[str], meant: str) -> None:
    done = CliRunner().invoke(app, typed)
    assert done.exit_code == 2 and done.output.count("Did you mean") == 1
    assert f"'{typed[-1]}'" in done.output and f"'{meant}'" in done.output


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_plain_text(path: tuple[str, ...]) -> None:
    said = CliRunner().invoke(app, [*path, "--help"]).output
    assert "\\" not in said
    required = [parameter for parameter in COMMANDS[path].params if parameter.required]
    assert said.count("[required]") == len(required)


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


def test_an_option_is_completed() -> None:
    words = {"_FELLREC_COMPLETE": "complete_bash", "COMP_WORDS": "fellrec check --js", "COMP_CWORD": "2"}
    done = CliRunner().invoke(app, [], prog_name="fellrec", env=words | {"PATH": os.environ["PATH"]})
    assert done.output.split() == ["--json"]


def test_an_error_ends_with_its_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for error, line in (
        (DataError("no item 'x'", "the nearest is 'y'"), "fellrec: no item 'x' (the nearest is 'y') [FR200]\n"),
        (DataError("no item 'x'"), "fellrec: no item 'x' [FR200]\n"),
        (DataError("said:\n\x1b[91mERROR\x1b[0m: x"), "fellrec: said:\nERROR: x [FR200]\n"),
    ):

        def fail(raised: DataError = error) -> None:
            raise raised

        monkeypatch.setattr(cli, "app", fail)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1 and capsys.readouterr().err == line
