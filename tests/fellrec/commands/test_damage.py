"""No command ends in a traceback: files that are damaged, a home that takes nothing, a name that is none."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fellrec import cli
from tests.federation import federate, tiny_settings

OF_A_RUN = {
    "show": ["show", "one"],
    "show --json": ["show", "one", "--json"],
    "report": ["report", "one"],
    "recommend": ["recommend", "one"],
    "api": ["api", "one"],
    "serve": ["serve", "one"],
    "export": ["export", "one", "--client", "toy-0", "--out", "{out}"],
    "track": ["track", "one", "--to", "tensorboard"],
}
"""Commands that read a run."""

READS = {
    "config.json": ["report", "recommend", "api", "serve", "export", "track"],
    "result.json": ["show", "show --json", "report"],
    "adapters/toy-0.safetensors": ["recommend", "api", "serve", "export"],
}
"""Who fails for want of which file."""

DAMAGE = {
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "no text": lambda content: bytes(range(256)) * 8,
    "a list": lambda content: b"[]",
    "too deep": lambda content: b"[" * 100_000,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run through the split."""
    home = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FELLREC_HOME", str(home))
        federate(tiny_settings(home, run_name="one", num_server_rounds=1, split__on=True))
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    shutil.copytree(trained / "runs", tmp_path / "home" / "runs", symlinks=True)
    for name in ("data", "model", "clients"):
        (tmp_path / "home" / name).symlink_to(trained / name)
    monkeypatch.setenv("FELLREC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def ends(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that fails says last; any other exception than that of an orderly end goes through."""
    monkeypatch.setattr(sys, "argv", ["fellrec", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "Traceback" not in said
    return said.splitlines()[-1]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("file", "command"), [(file, command) for file, known in READS.items() for command in known])
def test_a_damaged_file_of_a_run_is_named(
    home: Path,
    tmp_path: Path,
    file: str,
    command: str,
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = home / "runs" / "one" / file
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    words = [word.format(out=tmp_path / "out") for word in OF_A_RUN[command]]
    said = ends(words, monkeypatch, capsys)
    assert said.startswith("fellrec: ") and str(path) in said and "damaged" in said and said.endswith("]")


def test_a_result_that_lacks_a_part_is_an_error_of_show(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "runs" / "one" / "result.json").write_text('{"metrics": {}}')
    assert "the result of run 'one' cannot be shown: KeyError" in ends(["show", "one"], monkeypatch, capsys)


WRITERS = {
    "data prepare": ["data", "prepare", "sample"],
    "data show": ["data", "show", "sample"],
    "report": ["report", "one"],
    "recommend --users": ["recommend", "one", "--client", "toy-0", "--users", "{users}", "--out", "{out}"],
    "run": ["run", "demo"],
    "demo": ["demo"],
    "compare": ["compare", "demo", "--seeds", "1", "--strategies", "local"],
    "pretrain": ["pretrain", "sample", "--as", "x", "--steps", "1"],
    "split": ["split", "embedded", "--out", "{out}"],
    "export": ["export", "one", "--client", "toy-0", "--out", "{out}"],
    "provision": ["provision", "--out", "{out}", "--server", "example.org", "--nodes", "a"],
}
"""Commands that write."""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("command", WRITERS)
def test_a_disk_that_takes_nothing_is_named(
    home: Path,
    tmp_path: Path,
    command: str,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "users").write_text("toy-u0\n")
    words = [word.format(out=tmp_path / "out", users=tmp_path / "users") for word in WRITERS[command]]
    _refuse_writing(number, monkeypatch)
    said = ends(words, monkeypatch, capsys)
    assert said.startswith("fellrec: ") and os.strerror(number) in said and said.endswith("]")


def _refuse_writing(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder is made and no file is written; root may write everywhere, so that rights would not do."""

    def refusing(method: Callable) -> Callable:
        def refuse(self: Path, *words: object, **more: object) -> object:
            mode = more.get("mode", words[0] if words else "r")
            if method.__name__ == "open" and not set(str(mode)) & set("wax+"):
                return method(self, *words, **more)
            raise OSError(number, os.strerror(number), str(self))

        return refuse

    for name in ("mkdir", "open", "write_text", "write_bytes"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))
