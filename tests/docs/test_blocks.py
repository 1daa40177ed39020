"""Every command in README.md, docs/ and deploy/README.md is typed as it stands, page by page, in the page's order.

A page gets a working folder and a home of its own, with small generated data under the names that the pages use (``world.py``),
and a finished run of the shop as ``latest``. Everything is the real command, in this process or in one of its own. What differs
from what a reader types:

- runs get the cheap settings of ``terminal.CHEAP`` and, for the demo's encoder, a tiny random one (not on the page that loads
  the demo's adapter); `fellrec pretrain` learns two steps, `fellrec compare` has two seeds, `--top-items` keeps 20;
- ports are free ones of this machine; `DIR` and `/path/to/...` are the folders of ``world.py``;
- a run's federation is the real ServerApp and ClientApp in this process, without Flower's own. With ``-m slow`` the same
  commands start Flower, which takes minutes.

What is not run is listed in ``elsewhere.NOT_RUN`` with its reason. A command that is neither fails its page.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

import fellrec.flower
import fellrec.simulation
from tests.docs.elsewhere import NOT_RUN
from tests.docs.own_rule import with_own_rules
from tests.docs.pages import CHECKOUT, COMMANDS, Block, blocks, lines, pages
from tests.docs.standin import simulate
from tests.docs.terminal import STAYS, Terminal
from tests.docs.world import make

RUN = ("fellrec", "flwr", "make", "python", "curl", "cd", "export", "ls")
"""What a command may begin with, to be run."""

WRITTEN = {
    "docs/own-data.md": {"python": "make_shop.py", "toml": "shop.toml"},
    "docs/first-ten-minutes.md": {"python": "load_adapter.py"},
}
"""Blocks that a reader saves, and as what; the page says it."""

STARTS = re.compile(r"fellrec (run|demo|compare)|flwr run|make demo")
"""What starts a federation."""

KNOWN = {"", "sh", "text", "toml", "python", "csv", "json", "diff"}
EMBEDDED = ("docs/first-ten-minutes.md",)
"""Pages whose runs train the demo's own encoder."""

APART = "deploy/README.md"
"""A page whose sections are ways of their own: each begins anew."""


def listed(line: str) -> str | None:
    return next((start for start in NOT_RUN if line.startswith(start)), None)


def commands(page: str) -> list[str]:
    return [line for block in blocks(page) if block.language in COMMANDS for line in lines(block)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that every page starts from, with a run of the shop in it."""
    folder = make(tmp_path_factory.mktemp("docs") / "world")
    terminal = Terminal(folder, folder, model=str(folder / "models" / "encoder"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fellrec.simulation, "simulate", simulate)
        terminal.type("fellrec data prepare shop --items items.csv --interactions log.csv")
        terminal.type("fellrec run demo --set data.sets=shop:5 --set recipe=shop")
        terminal.type("fellrec recommend latest --client shop-0 --json")
    (folder / "ids.txt").write_text(json.loads(terminal.output)["user"] + "\n")
    shutil.copy(folder / ".fellrec" / "runs" / "latest" / "events.jsonl", folder / "copy.jsonl")
    return folder


@pytest.fixture
def flower(monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(fellrec.simulation, "simulate", simulate)
    monkeypatch.setattr(fellrec.flower, "own_superlink", nullcontext)
    return False


def follow(page: str, world: Path, folder: Path, flower: bool) -> None:
    """Types a page's commands and runs its programs; every block is in a language that this knows what to do with."""
    terminal = None
    try:
        section = -1
        for block in blocks(page):
            assert block.language in KNOWN, f"{page}:{block.line}: {block.language!r}"
            at = _section(block) if page == APART else 0
            if terminal is None or at != section:
                if terminal is not None:
                    terminal.close()
                section, home = at, folder / str(at)
                shutil.copytree(world, home, symlinks=True)
                code = with_own_rules(folder / "code") if page == "docs/own-rule.md" else None
                model = "" if page in EMBEDDED else str(home / "models" / "encoder")
                terminal = Terminal(home, home, flower, code, model)
            if block.language in WRITTEN.get(page, {}):
                (terminal.folder / WRITTEN[page][block.language]).write_text(block.text, encoding="utf-8")
            if block.language in COMMANDS:
                for line in lines(block):
                    _type(terminal, line, f"{page}:{block.line}")
    finally:
        if terminal is not None:
            terminal.close()


def _type(terminal: Terminal, line: str, place: str) -> None:
    start = listed(line)
    if start:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FELLREC_HOME", terminal.environment["FELLREC_HOME"])
            NOT_RUN[start].look(line)
        return
    assert line.split()[0] in RUN, f"{place}: {line!r} is neither run nor listed in elsewhere.NOT_RUN"
    try:
        terminal.type(line)
    except Exception as error:
        raise AssertionError(f"{place}: {line}\n{error}") from error


def _section(block: Block) -> int:
    before = (CHECKOUT / block.page).read_text(encoding="utf-8").splitlines()[: block.line]
    return sum(line.startswith("## ") for line in before)


@pytest.mark.parametrize("page", pages())
def test_every_command_of_the_page_works(page: str, world: Path, tmp_path: Path, flower: bool) -> None:
    follow(page, world, tmp_path, flower)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in pages() if any(STARTS.match(line) for line in commands(page))])
def test_every_run_of_the_page_works_with_flower(page: str, world: Path, tmp_path: Path) -> None:
    follow(page, world, tmp_path, flower=True)


def test_most_commands_are_run_and_every_reason_is_needed() -> None:
    every = [line for page in pages() for line in commands(page)]
    run = [line for line in every if listed(line) is None]
    assert len(run) >= 40 and len(run) > 2 * (len(every) - len(run)), (len(run), len(every))
    assert {listed(line) for line in every} - {None} == set(NOT_RUN), "a reason that no page needs"
    assert {word for line in run for word in STAYS if line.startswith(f"fellrec {word} ")} == set(STAYS)


def test_a_new_command_fails_its_page(world: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, tmp_path)
    with pytest.raises(AssertionError, match="neither run nor listed"):
        _type(terminal, "rsync a b", "README.md:1")
    with pytest.raises(AssertionError, match="README.md:2"):
        _type(terminal, "fellrec data show nothing-of-this-name", "README.md:2")


@pytest.mark.parametrize(("page", "names"), WRITTEN.items())
def test_a_page_says_as_what_a_block_is_saved(page: str, names: dict[str, str]) -> None:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in names.values())
    assert all(sum(block.language == language for block in blocks(page)) == 1 for language in names)


def test_the_tables_begin_as_the_page_shows_them(world: Path) -> None:
    shown = [block.text.splitlines() for block in blocks("docs/own-data.md") if block.language == "csv"]
    assert [rows[0] for rows in shown] == ["item_id,title,category", "user_id,item_id,timestamp"]
    items, log = ((world / name).read_text().splitlines() for name in ("items.csv", "log.csv"))
    assert items[: len(shown[0])] == shown[0] and log[: len(shown[1])] == shown[1]
    assert (len(items) - 1, len({row.split(",")[0] for row in log[1:]})) == (120, 200)


def test_what_the_pages_show_of_outputs_is_what_comes(world: Path) -> None:
    terminal = Terminal(world, world)
    (sides,) = [block.text for block in blocks("docs/own-model.md") if block.language == "text"]
    terminal.type(f"fellrec split embedded --k 1 --m 1 --out {world / 'sides-again'}")
    assert terminal.output.replace(str(world / "sides-again"), "sides") == sides
    (error,) = [block.text for block in blocks("docs/errors.md") if block.language == "text"]
    program = [sys.executable, "-c", "from fellrec.cli import main; main()"]
    words = ["check", "demo", "--set", "train.learning-rat=1"]
    assert subprocess.run([*program, *words], capture_output=True, text=True).stderr == error


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
