"""``import fellrec``: what it gives, and that it changes nothing in the program that imports it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import common.errors
import fellrec

FACE = Path(fellrec.__file__)
HEAVY = ("torch", "flwr", "ray", "transformers", "numpy", "grpc", "pydantic", "rich")

LOOK = """
import gc, json, logging, os, signal, sys, threading, warnings
def look():
    torch = sys.modules.get("torch")
    return {
        "environment": dict(os.environ), "folder": os.getcwd(), "path": list(sys.path), "threads": threading.active_count(),
        "handlers": [repr(handler) for handler in logging.getLogger().handlers], "level": logging.getLogger().level,
        "signals": [repr(signal.getsignal(number)) for number in signal.valid_signals()], "hook": repr(sys.excepthook),
        "warnings": repr(warnings.filters),
        "torch": torch and [str(torch.get_default_dtype()), torch.get_num_threads(), torch.is_grad_enabled(),
                            torch.random.get_rng_state().tolist()],
    }
"""


def python(program: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOOK + program, *words], cwd=FACE.parents[1], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_changes_nothing_and_imports_nothing_heavy() -> None:
    told = python("""
before = look(); import fellrec; after = look()
assert before == after, (before, after)
print(json.dumps(sorted(sys.modules)))
""")
    assert not {name for name in json.loads(told) if name.partition(".")[0] in (*HEAVY, "common", "typer")}


def test_naming_what_it_gives_imports_neither_torch_nor_flower() -> None:
    told = python("""
before = look(); import fellrec
fellrec.run, fellrec.load, fellrec.compare, fellrec.prepare, fellrec.sets, fellrec.Run, fellrec.FellrecError
assert before == look()
print(json.dumps(sorted(sys.modules)))
""")
    modules = json.loads(told)
    assert "fellrec.python.running" in modules
    assert not {name for name in modules if name.partition(".")[0] in ("torch", "flwr", "ray", "transformers", "grpc")}


def test_importing_it_leaves_torch_as_it_is() -> None:
    python("""
import torch
torch.set_num_threads(3); torch.set_default_dtype(torch.float64); torch.manual_seed(7)
before = look(); import fellrec; fellrec.run, fellrec.load
assert before == look() and before["torch"]
""")


def test_every_name_is_there_and_editors_see_it() -> None:
    tree = ast.parse(FACE.read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname for line in block.body if isinstance(line, ast.ImportFrom) for alias in line.names}
    assert seen == set(fellrec.__all__) and sorted(fellrec.__all__) == fellrec.__all__
    for line in block.body:
        assert isinstance(line, ast.ImportFrom) and line.module
        for alias in line.names:
            assert alias.asname
            given = getattr(fellrec, alias.asname)
            assert given is getattr(__import__(line.module, fromlist=[alias.name]), alias.name)
    assert set(fellrec.__all__) <= set(dir(fellrec))


def test_every_error_of_its_own_is_there() -> None:
    own = {
        name
        for name, value in vars(common.errors).items()
        if isinstance(value, type) and issubclass(value, common.errors.FellrecError)
    }
    assert own <= set(fellrec.__all__) and len(own) > 5


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        fellrec.nothing_of_the_kind  # noqa: B018
