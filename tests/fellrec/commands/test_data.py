"""``fellrec data``: what it prints, and what it leaves behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common.data.readers.names import IN_SHORT, NAMED
from common.errors import ConfigError, DataError
from fellrec.commands.data import app

runner = CliRunner()


def say(*arguments: str) -> str:
    done = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def tables(fellrec_home: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "items.csv").write_text("id,title,genre\na,Red &amp; Green,x\nb,Blue,y\nc,Pink [1],y\n")
    (tmp_path / "log.csv").write_text("user,item,timestamp\nu1,a,1\nu1,b,2\nu2,b,3\nu2,c,4\nu3,a,5\nu3,b,6\n")
    return ["shop", "--items", str(tmp_path / "items.csv"), "--interactions", str(tmp_path / "log.csv")]


@pytest.mark.parametrize("command", [[], ["prepare"], ["list"], ["show"]])
def test_every_command_has_a_help(command: list[str]) -> None:
    assert "Usage" in runner.invoke(app, [*command, "--help"]).output


def test_a_filtered_set_says_so_everywhere(fellrec_home: Path, tables: list[str]) -> None:
    said = say("prepare", *tables, "--top-items", "2", "--as", "shop-2")
    assert "shop-2: 2 users, 2 items, 4 interactions" in said and "kept: its most popular 2 items" in said
    assert (fellrec_home / "data" / "shop-2" / "dataset.json").is_file()
    assert "its most popular 2 items" in say("list") and "filters: its most popular 2 items" in say("show", "shop-2")
    assert "shop-core2: 2 users, 2 items" in say("prepare", *tables, "--core", "2")


def test_list_and_show_in_words_and_json(tables: list[str]) -> None:
    assert "no data set is prepared" in say("list") and json.loads(say("list", "--json")) == []
    say("prepare", *tables)
    assert "shop: 3 users, 3 items, 6 interactions" in say("list") and "licence: not stated" in say("list")
    (row,) = json.loads(say("list", "--json"))
    assert row["counts"] == {"users": 3, "items": 3, "interactions": 6}
    shown = say("show", "shop")
    assert "  Pink [1]\n" in shown and "can be split by: leave-last-out, global-time" in shown
    assert json.loads(say("show", "shop", "--json"))["titles"] == ["Red & Green", "Blue", "Pink [1]"]


def test_what_is_wrong_is_said(tables: list[str]) -> None:
    with pytest.raises(DataError, match="run `fellrec data prepare nowhere`"):
        say("show", "nowhere")
    with pytest.raises(ConfigError, match="top_items is 1"):
        say("prepare", *tables, "--top-items", "1")
    with pytest.raises(DataError, match="licence of 'amazon-2023-books' is not accepted"):
        say("prepare", "amazon-2023-books")


def test_the_page_names_every_set_and_no_option_that_is_not_there() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    for name in IN_SHORT:
        assert f"`{name}`" in page, name
    commands = typer.main.get_command(app).commands.values()
    options = {option for command in commands for parameter in command.params for option in parameter.opts}
    for line in re.findall(r"^fellrec data prepare (.*)$", page, re.MULTILINE):
        name, *rest = line.split()
        assert name in NAMED or "--items" in rest
        assert {word for word in rest if word.startswith("--")} <= options
