"""What gRPC says of callers whose certificates will not do: what the split service reads, and deploy/README.md explains."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from server_app.split.handshakes import ADVICE, OTHER, SIGN
from tests.authority import Authority

CHECKOUT = Path(__file__).resolve().parents[2]
SERVE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import grpc
from server_app.split.settings import TlsFiles
server = grpc.server(ThreadPoolExecutor(1))
print(server.add_secure_port("127.0.0.1:0", TlsFiles(*map(Path, sys.argv[1:])).read()), flush=True)
server.start()
sys.stdin.read()
server.stop(0).wait()
"""


@dataclass
class Listening:
    """A port with the split service's credentials; ``said`` ends it and returns what its process wrote."""

    port: int
    authority: Authority
    process: subprocess.Popen[str]

    def said(self) -> str:
        return self.process.communicate(timeout=30)[1]

    def shows(self, pair: tuple[Path, Path] | None) -> None:
        """A caller with this certificate and key, that waits until the service says something or hangs up."""
        context = ssl.create_default_context(cafile=self.authority.path)
        context.set_alpn_protocols(["h2"])
        if pair is not None:
            context.load_cert_chain(*pair)
        with (
            socket.create_connection(("127.0.0.1", self.port), 20) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
            suppress(ConnectionError, ssl.SSLError),
        ):
            assert connection.recv(1) == b""

    def sends(self, text: bytes) -> None:
        """A caller without TLS, that waits until it is hung up on."""
        with socket.create_connection(("127.0.0.1", self.port), 20) as raw, suppress(ConnectionError):
            raw.sendall(text)
            while raw.recv(64):
                pass


CALLERS: dict[str, Callable[[Listening, Authority], None]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": lambda at, _: at.shows(None),
    "certificate has expired": lambda at, _: at.shows(at.authority.pair("ann", -3, -1)),
    "certificate is not yet valid": lambda at, _: at.shows(at.authority.pair("ann", 1, 3)),
    "unable to get local issuer certificate": lambda at, stranger: at.shows(stranger.pair("ann")),
    "WRONG_VERSION_NUMBER": lambda at, _: at.sends(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP_REQUEST": lambda at, _: at.sends(b"GET / HTTP/1.1\r\nHost: split\r\n\r\n"),
}


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    compose = yaml.safe_load((CHECKOUT / "deploy" / "compose.yml").read_text())
    level = compose["services"]["serverapp"]["environment"]["GRPC_VERBOSITY"]
    authority = Authority(tmp_path)
    files = [*authority.pair("service"), authority.path]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, *map(str, files)],
        cwd=CHECKOUT,
        text=True,
        env={**os.environ, "GRPC_VERBOSITY": level, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    yield Listening(int(process.stdout.readline()), authority, process)
    process.kill()
    process.wait()


def test_every_caller_that_is_turned_away_leaves_one_line_that_the_table_explains(
    listening: Listening, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    for call in CALLERS.values():
        call(listening, stranger)
    lines = [line for line in listening.said().splitlines() if SIGN in line]
    assert len(lines) == len(CALLERS) and {*CALLERS, OTHER} == set(ADVICE)
    table = (CHECKOUT / "deploy" / "README.md").read_text()
    for word, line in zip(CALLERS, lines, strict=True):
        assert word in line and f"| `{word}` |" in table


def test_the_units_let_the_service_speak_as_compose_does() -> None:
    unit = (CHECKOUT / "deploy" / "systemd" / "fellrec-serverapp.service").read_text()
    assert "Environment=GRPC_VERBOSITY=info" in unit.splitlines()
