"""A terminal for the pages' commands: types each one in a working folder, with a home of its own and settings that are cheap."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from typer.testing import CliRunner

from common.config import Value
from common.run_folder import RunFolder
from fellrec.cli import app
from fellrec.flower import own_superlink
from fellrec.recipes import read_recipe, settings
from tests.docs.pages import CHECKOUT
from tests.docs.standin import simulate

CHEAP = {
    "num-server-rounds": 1,
    "train.examples": 8,
    "train.batch-size": 4,
    "evaluate.valid-users": 4,
    "evaluate.test-users": 4,
    "generate.beams": 2,
}
"""Settings that every run of a page gets, unless its command sets them."""

STAYS = ("api", "serve", "live")
"""Commands of fellrec that go on until they are ended."""

READY = re.compile(r"http://\S+|serving run \S+ on \S+")
TOP = 20
FEWER = {"pretrain": ["--steps", "2"], "compare": ["--seeds", "2"]}
"""The last of an option counts."""


@dataclass
class Terminal:
    """One user's terminal.

    Attributes
    ----------
    folder : where commands are typed; ``cd`` moves on from there. home : ``$HOME``.
    flower : whether runs start Flower's processes, or the federation runs in this process.
    code : the checkout that `fellrec` is taken from, where it is another one than this.
    model : trained instead of the demo's encoder; '' for that one itself.
    """

    folder: Path
    home: Path
    flower: bool = False
    code: Path | None = None
    model: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    output: str = ""
    _ports: dict[str, int] = field(default_factory=dict)
    _staying: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        tools = Path(sys.executable).parent
        self.environment = os.environ | {
            "HOME": str(self.home),
            "FELLREC_HOME": str(self.home / ".fellrec"),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "300",
            "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}",
            **({"PYTHONPATH": str(self.code)} if self.code else {}),
        }

    def type(self, line: str) -> None:
        """Runs one command; raises AssertionError where it fails. What it printed is in ``output``."""
        line = self._filled_in(line)
        program = line.split()[0]
        if program == "make":
            self._make(line.split()[1])
        elif program == "fellrec":
            self._fellrec(line)
        elif program == "flwr":
            self._flwr(line)
        else:
            self._shell(line)

    def close(self) -> None:
        """Ends what stays."""
        for process in self._staying:
            process.send_signal(signal.SIGINT)
        for process in self._staying:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout
            process.stdout.close()

    def _filled_in(self, line: str) -> str:
        """The command with this machine's values for what a page cannot know."""
        named = re.search(r"data prepare (\S+) --raw DIR", line)
        if named:
            line = line.replace("--raw DIR", f"--raw downloads/{named[1]}")
        for kind in ("folder", "causal"):
            model = self.folder / "models" / {"folder": "encoder"}.get(kind, kind)
            line = line.replace(f"/path/to/{kind}", str(model))
        line = re.sub(r"--top-items \d+", f"--top-items {TOP}", line)
        # ports that are free here, the same one wherever a page names the same one
        return re.sub(r"(?<=--port )\d+|(?<=127\.0\.0\.1:)\d+", lambda port: str(self._port(port[0])), line)

    def _port(self, written: str) -> int:
        if written not in self._ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._ports[written] = probe.getsockname()[1]
        return self._ports[written]

    def _shell(self, line: str) -> None:
        # the shell's own words change what comes after them
        told = f"{line}\nprintf '\\n--%s\\n' \"$PWD\"; env -0"
        done = subprocess.run(
            ["bash", "-ec", told], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        self.output, _, state = done.stdout.rpartition("\n--")
        place, _, variables = state.partition("\n")
        self.folder = Path(place)
        self.environment = dict(one.split("=", 1) for one in variables.split("\0") if "=" in one)

    def _words(self, line: str) -> list[str]:
        """The words of a command as the shell gives them to it."""
        done = subprocess.run(
            ["bash", "-ec", f"printf '%s\\0' {line}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\0")[:-1]

    def _recipe(self, name: str) -> dict[str, Value]:
        return read_recipe(str(self.folder / name) if name.endswith(".toml") else name)

    def _cheap(self, recipe: Mapping[str, Value]) -> dict[str, Value]:
        """What a run of the recipe gets."""
        tiny = self.model and recipe.get("model.name", "embedded") == "embedded"
        return CHEAP | ({"model.name": self.model, "model.max-tokens": 64} if tiny else {})

    def _make(self, target: str) -> None:
        rule = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (self.folder / "Makefile").read_text(), re.MULTILINE)
        assert rule, f"make {target}: no such target"
        for line in rule[1].splitlines():
            self.type(line.strip().replace("$(VENV)/bin/", ""))

    def _fellrec(self, line: str) -> None:
        command, _, target = line.partition(" > ")
        words = self._words(command)[1:]
        if words[0] in ("run", "demo", "compare"):
            recipe = self._recipe("demo" if words[0] == "demo" else words[1])
            chosen = {word.partition("=")[0] for word in words}
            words += [
                part
                for key, value in self._cheap(recipe).items()
                if key not in chosen
                for part in ("--set", f"{key}={value}")
            ]
        words += FEWER.get(words[0], [])
        if words[0] in STAYS:
            self._stay(words)
        elif self.code:
            self._apart(words)
        else:
            self._here(words)
        if target:
            (self.folder / target.strip()).write_text(self.output)

    def _here(self, words: list[str]) -> None:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            done = CliRunner().invoke(app, words, env=self.environment, catch_exceptions=False)
        finally:
            os.chdir(before)
        self.output = done.output
        assert done.exit_code == 0, f"fellrec {' '.join(words)}\n{done.output}"

    def _apart(self, words: list[str]) -> None:
        program = "from fellrec.cli import main; main()"
        how = ["-c", program] if self.flower else ["-m", "tests.docs.standin"]
        done = subprocess.run(
            [sys.executable, *how, *words],
            cwd=self.code,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        self.output = done.stdout
        assert done.returncode == 0, f"fellrec {' '.join(words)}\n{done.stdout}{done.stderr}"

    def _stay(self, words: list[str]) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", "from fellrec.cli import main; main()", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._staying.append(process)
        self.output = ""
        assert process.stdout
        while line := process.stdout.readline():
            self.output += line
            if READY.search(line):
                break
        assert READY.search(self.output), f"fellrec {' '.join(words)}\n{self.output}"
        if words[0] == "api":
            self.output += process.stdout.readline()
            self.environment["TOKEN"] = re.search(r"token: (\S+)", self.output)[1]  # type: ignore[index]

    def _flwr(self, line: str) -> None:
        words = self._words(line)
        assert words[:4] == ["flwr", "run", ".", "--stream"] and words[4] == "--run-config", line
        recipe = self._recipe(words[5])
        merged, config = settings({**recipe, **self._cheap(recipe)}, [])
        before = os.environ.copy()
        os.environ.update(self.environment)
        try:
            if not self.flower:
                simulate(merged, config, 2, 1, Console(quiet=True))
                return
            name = f"typed-{secrets.token_hex(4)}"
            with own_superlink() as flower:
                process = flower.run(CHECKOUT, merged | {"run-name": name}, 2, 1)
                self.output, _ = process.communicate(timeout=600)
            # Flower's command ends well whatever became of the run
            done = RunFolder.find(name, config.home).path / "result.json"
            assert done.is_file(), self.output[-4000:]
        finally:
            os.environ.clear()
            os.environ.update(before)
