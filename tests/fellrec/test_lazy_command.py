"""fellrec/lazy_command.py: nothing is imported before a command is called, and then it is the command itself."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fellrec.lazy_command import LazyCommand

MODULE = '''
from typing import Annotated
import typer

def greet(name: Annotated[str, typer.Argument(help="Whom.")], loud: bool = False) -> None:
    """Greet somebody.

    Example: fellrec greet you
    """
    typer.echo(name.upper() if loud else name)

app = typer.Typer(help="Many.")
app.command("greet")(greet)

@app.command("leave")
def leave() -> None:
    """Leave at once."""
'''


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> click.Group:
    (tmp_path / "greeting_for_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "greeting_for_a_test", raising=False)
    rows = {"greet": "greet", "many": "app"}
    return click.Group("root", {n: LazyCommand(n, f"greeting_for_a_test:{a}", f"{n}.") for n, a in rows.items()})


def invoke(group: click.Group, *arguments: str) -> str:
    return CliRunner().invoke(group, arguments, catch_exceptions=False).output


def test_its_line_is_known_before_its_module_is_loaded(group: click.Group) -> None:
    assert "greet  greet." in invoke(group, "--help")
    assert "greeting_for_a_test" not in sys.modules


def test_called_it_is_the_command_itself(group: click.Group) -> None:
    assert invoke(group, "greet", "you", "--loud") == "YOU\n"
    helped = invoke(group, "greet", "--help")
    assert "Usage: root greet" in helped and "Whom." in helped and "--loud" in helped
    assert "Missing argument" in invoke(group, "greet")
    assert group.commands["greet"].loaded is group.commands["greet"].loaded


def test_a_group_of_its_own_tells_its_commands(group: click.Group) -> None:
    helped = invoke(group, "many", "--help")
    assert "greet  Greet somebody." in helped and "leave  Leave at once." in helped and "completion" not in helped
    assert invoke(group, "many", "greet", "you") == "you\n"
