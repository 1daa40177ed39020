"""server_app/split/handshakes.py: gRPC's lines of failed handshakes become a warning each, once, with what to do."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from server_app.split.handshakes import ADVICE, OTHER, QUIET, Handshakes

CHECKOUT = Path(__file__).resolve().parents[3]
LINE = (
    "I1121 05:13:37.677960 16223 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL: "
    "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: "
)
WATCH = """
import logging, os, sys, time
from server_app.split.handshakes import Handshakes
logging.basicConfig(stream=sys.stdout, format="%(message)s")
handshakes = Handshakes()
print(handshakes.watch(), handshakes.watch(), flush=True)
os.write(2, sys.argv[1].encode() + b"\\n")
sys.stdin.readline()
handshakes.close()
print(os.fstat(2).st_rdev == os.stat(os.devnull).st_rdev, flush=True)
"""


def test_a_reason_is_told_once_and_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    handshakes = Handshakes(lambda: now[0])
    for reason in ["certificate has expired"] * 4 + ["unable to get local issuer certificate"]:
        handshakes.note(LINE + reason)
    now[0] = QUIET + 1
    handshakes.note(LINE + "certificate has expired")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3 and "--renew" in told[0] and "another federation" in told[1]
    assert told[2].endswith("3 more since it was last told")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_an_unknown_reason_is_told_and_other_lines_are_not(caplog: pytest.LogCaptureFixture) -> None:
    handshakes = Handshakes()
    handshakes.note("I1121 05:13:37 server.cc:1] something else")
    handshakes.note(LINE + "some new reason")
    (record,) = caplog.records
    assert ADVICE[OTHER] in record.getMessage()
    # where a handler writes to stderr, what was told must not be read as one more
    handshakes.note(record.getMessage())
    assert len(caplog.records) == 1


def start(stderr: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WATCH, LINE + "certificate has expired"],
        cwd=CHECKOUT,
        stderr=stderr,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_a_stderr_that_nobody_reads_is_watched_and_given_back() -> None:
    process = start(subprocess.DEVNULL)
    assert process.stdout.readline() == "True False\n"
    assert "certificate has expired" in process.stdout.readline()
    assert process.communicate("\n", timeout=30)[0] == "True\n" and process.returncode == 0


def test_a_stderr_that_somebody_reads_is_left_alone() -> None:
    said, errors = start(subprocess.PIPE).communicate("\n", timeout=30)
    assert said == "False False\nFalse\n" and "certificate has expired" in errors
