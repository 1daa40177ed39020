"""fellrec/commands/live.py: the address that it prints leads to the page, and Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from common.errors import RunError
from fellrec.commands.live import live_command
from tests.fellrec.live.test_feed import append
from tests.fellrec.report.logs import log


@pytest.mark.live
def test_the_printed_address_leads_to_the_page_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    append(tmp_path / "log", log())
    command = "import typer; from fellrec.commands.live import live_command; typer.run(live_command)"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "--events", str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:") and len(url.partition("?token=")[2]) >= 43
        assert "north" in httpx.get(url, trust_env=False, timeout=30).text
        with httpx.stream("GET", url.replace("/?", "/events?"), trust_env=False, timeout=30) as stream:
            assert next(stream.iter_lines()).startswith("retry:")
            process.send_signal(signal.SIGINT)
            process.wait(30)
        said = process.stderr.read()
        assert "Traceback" not in said and "token" not in said
    finally:
        process.kill()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    append(tmp_path / "log", log())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match=f"port {taken.getsockname()[1]} cannot be listened on"):
            live_command("latest", taken.getsockname()[1], tmp_path / "log")
