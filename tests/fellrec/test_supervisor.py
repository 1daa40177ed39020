"""What a supervisor started ends with it: processes of other sessions, orphans, and those that will not be asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fellrec import supervisor

STUBBORN = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; time.sleep(60)"
FAMILY = f"""
import os, subprocess, sys, time
stubborn = {STUBBORN!r}
child = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
start = "import subprocess as s, sys; print(s.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True, stdout=2).pid)"
orphaned = subprocess.run([sys.executable, "-c", start, stubborn], stdout=subprocess.PIPE, text=True).stdout
with open("part", "w") as file:
    file.write(f"{{os.getpid()}} {{child.pid}} {{orphaned}}")
os.rename("part", "family")
time.sleep(60)
"""
"""A command with a child in a session of its own, and with one whose parent is gone."""
OWNER = """
import subprocess, sys, time
from pathlib import Path
from fellrec import supervisor
supervisor.start([sys.executable, "-c", sys.argv[1]], Path(), None, subprocess.DEVNULL, subprocess.DEVNULL, 0.5)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")


def family(folder: Path) -> list[psutil.Process]:
    """The processes of the command, once all are there."""
    wait_for((folder / "family").exists)
    found = [psutil.Process(int(pid)) for pid in (folder / "family").read_text().split()]
    assert len(found) == 3
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def started(folder: Path, program: str, patience: float = 0.5) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program]
    return supervisor.start(command, folder, os.environ, subprocess.PIPE, subprocess.STDOUT, patience)


def test_all_that_came_of_a_command_ends_with_it(tmp_path: Path) -> None:
    with started(tmp_path, FAMILY) as process:
        found = family(tmp_path)
        supervisor.end(process)
        assert not any(one.is_running() for one in found)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_however_its_owner_ends(tmp_path: Path, sign: signal.Signals) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, FAMILY], cwd=tmp_path)
    found = family(tmp_path)
    owner.send_signal(sign)
    owner.wait()
    wait_for(lambda: not any(one.is_running() for one in found))


def test_a_command_that_ends_by_itself_leaves_nothing_behind_and_tells_its_status(tmp_path: Path) -> None:
    with started(tmp_path, FAMILY.replace("time.sleep(60)\n", "sys.exit(3)\n")) as process:
        assert process.wait(30) == 3
    assert not any(psutil.pid_exists(int(pid)) for pid in (tmp_path / "family").read_text().split())


def test_a_command_that_is_killed_tells_by_what_as_a_shell_does(tmp_path: Path) -> None:
    with started(tmp_path, "import os; os.kill(os.getpid(), 9)") as process:
        assert process.wait(30) == 128 + signal.SIGKILL


def test_what_is_asked_to_end_may_take_the_time_that_it_was_given(tmp_path: Path) -> None:
    slow = "import signal, sys, time\ndef bye(*_):\n    time.sleep(1)\n    print('done', flush=True)\n    sys.exit(4)\n"
    slow += "signal.signal(15, bye)\nprint('up', flush=True)\ntime.sleep(60)"
    with started(tmp_path, slow, patience=30.0) as process:
        assert process.stdout and process.stdout.readline() == "up\n"
        process.terminate()
        assert process.wait(30) == 4 and process.stdout.read() == "done\n"
