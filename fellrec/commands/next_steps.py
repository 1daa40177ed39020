"""What can be done with a run that has ended, in one line."""

from __future__ import annotations

import shlex
from pathlib import Path

from common.errors import RunError
from common.home import runs_home
from common.run_folder import RunFolder


def after_simulation(run: RunFolder) -> str:
    """The commands that go on from a simulated run; one client's recommendations where a client has an adapter to serve."""
    called = shlex.quote(_called(run.path))
    adapters = {path.stem for path in (run.path / "adapters").glob("*.safetensors")}
    client = next((name for name in run.result()["metrics"]["clients"] if name in adapters), None)
    recommend = f", or fellrec recommend {called} --client {shlex.quote(client)}" if client else ""
    return f"next: fellrec report {called}{recommend}"


def after_deployment(name: str, home: str) -> str:
    """The command that goes on from a run on real nodes; their data, and perhaps its folder, are on other machines."""
    try:
        return f"next: fellrec report {shlex.quote(_called(RunFolder.find(name, home).path))}"
    except RunError:
        return f"next, on the machine that runs the ServerApp: fellrec report {shlex.quote(name)}"


def _called(path: Path) -> str:
    """The shortest that ``fellrec`` finds the run by: a run under another home has to be given as a folder."""
    return path.name if path.parent == runs_home().resolve() else str(path)
