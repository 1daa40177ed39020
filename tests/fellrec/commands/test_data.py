"""``fellrec data``: what it prints, and what it leaves behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common.data.readers.names import in_short, named
from common.errors import ConfigError, DataError
from fellrec.commands.data import app

runner = CliRunner()


def say(*arguments: str) -> str:
    done = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def tables(fellrec_home: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "items.csv").write_text(
        "id,title,genre\na,Red &amp; Green,x\nb,Blue,y\nc,Pink [1],y\nd,Grey,y\ne,Black,y\n"
    )
    rows = [(user, item) for user in ("u1", "u2") for item in "abcd"] + [("u3", "e"), ("u3", "a")]
    (tmp_path / "log.csv").write_text(
        "user,item,timestamp\n" + "".join(f"{user},{item},{n}\n" for n, (user, item) in enumerate(rows))
    )
    return ["shop", "--items", str(tmp_path / "items.csv"), "--interactions", str(tmp_path / "log.csv")]


@pytest.mark.parametrize("command", [[], ["prepare"], ["list"], ["show"]])
def test_every_command_has_a_help(command: list[str]) -> None:
    assert "Usage" in runner.invoke(app, [*command, "--help"]).output


def test_a_filtered_set_says_so_everywhere(fellrec_home: Path, tables: list[str]) -> None:
    said = say("prepare", *tables, "--top-items", "4", "--as", "shop-4")
    assert "shop-4: 2 users, 4 items, 8 interactions" in said and "kept: its most popular 4 items" in said
    assert "times read as seconds, 1970-01-01 to 1970-01-01\n" in said
    assert "by leave-last-out, 2 of 2 users can be tested\n" in said
    assert (fellrec_home / "data" / "shop-4" / "dataset.json").is_file()
    assert "its most popular 4 items" in say("list") and "filters: its most popular 4 items" in say("show", "shop-4")
    assert "shop-core2: 2 users, 4 items" in say("prepare", *tables, "--core", "2")


def test_list_and_show_in_words_and_json(tables: list[str]) -> None:
    assert "no data set is prepared" in say("list") and json.loads(say("list", "--json")) == []
    say("prepare", *tables)
    assert "shop: 3 users, 5 items, 10 interactions" in say("list") and "licence: not stated" in say("list")
    (row,) = json.loads(say("list", "--json"))
    assert row["counts"] == {"users": 3, "items": 5, "interactions": 10}
    shown = say("show", "shop")
    assert "  Pink [1]\n" in shown and "can be split by: leave-last-out, 2 of 3 users can be tested" in shown
    assert "1 have no history or no test item; global-time, " in shown
    assert json.loads(say("show", "shop", "--json"))["titles"] == [
        "Red & Green",
        "Blue",
        "Pink [1]",
        "Grey",
        "Black",
    ]


def test_a_title_does_not_steer_the_terminal(fellrec_home: Path, tables: list[str]) -> None:
    items = Path(tables[2])
    items.write_text(items.read_text().replace("Blue", "\x1b[31mBlue\x1b]0;owned\x07\u202e\x9b2J"), encoding="utf-8")
    say("prepare", *tables)
    said, as_json = say("show", "shop"), say("show", "shop", "--json")
    assert "  Blue\ufffd\n" in said and "\x1b" not in said + as_json and "\x9b" not in said + as_json
    # a machine reads what is there
    assert json.loads(as_json)["titles"][1] == "\x1b[31mBlue\x1b]0;owned\x07\u202e\x9b2J"


def test_what_is_wrong_is_said(tables: list[str]) -> None:
    with pytest.raises(DataError, match="run `fellrec data prepare nowhere`"):
        say("show", "nowhere")
    with pytest.raises(ConfigError, match="top_items is 1"):
        say("prepare", *tables, "--top-items", "1")
    with pytest.raises(DataError, match="licence of 'amazon-2023-books' is not accepted"):
        say("prepare", "amazon-2023-books")


def test_the_page_names_every_set_and_no_option_that_is_not_there() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    for name in in_short():
        assert f"`{name}`" in page, name
    commands = typer.main.get_command(app).commands.values()
    options = {option for command in commands for parameter in command.params for option in parameter.opts}
    for line in re.findall(r"^fellrec data prepare (.*)$", page, re.MULTILINE):
        name, *rest = line.split()
        assert name in named() or "--items" in rest
        assert {word for word in rest if word.startswith("--")} <= options
