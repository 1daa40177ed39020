"""A run's own split service: what of the configuration reaches it, and what is refused before the run."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from common.config import from_flat
from common.errors import ConfigError
from server_app.hosting import Hosting
from tests.authority import Authority
from tests.federation import tiny_settings


def hosting(home: Path, **split: object) -> Hosting:
    """The hosting of a tiny run with these settings of the split."""
    settings = tiny_settings(home, split__on=True, **{f"split__{name}": value for name, value in split.items()})
    return Hosting(from_flat(settings), "run", home / "hosted")


@contextmanager
def free_port() -> Iterator[int]:
    """A port that is free, as far as anyone can know."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield port


def test_metrics_are_served_during_the_run_and_on_loopback_only(fellrec_home: Path) -> None:
    with free_port() as port:
        with closing(hosting(fellrec_home, metrics_port=port)):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
                said = page.read().decode()
            assert "fellrec_split_sessions 0.0" in said and "fellrec_split_held_bytes 0.0" in said
            others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)}
            for address in others - {"127.0.0.1"}:
                with socket.socket() as caller:
                    assert caller.connect_ex((address, port)) != 0
        # closed with the service, so that the next run may have it
        with closing(hosting(fellrec_home, metrics_port=port)):
            pass


def test_without_a_port_there_is_no_page(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_app.split.page.start_http_server", lambda *_: pytest.fail("a page was started"))
    with closing(hosting(fellrec_home)):
        pass


def test_an_occupied_port_is_an_error_before_the_run_and_leaves_nothing_open(fellrec_home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"'split.metrics-port' = {port} cannot be listened on"):
            hosting(fellrec_home, metrics_port=port)
        with free_port() as free:
            with pytest.raises(ConfigError, match=f"cannot listen on '127.0.0.1:{port}'"):
                hosting(fellrec_home, port=port, metrics_port=free)
            with closing(hosting(fellrec_home, port=free)):
                pass


def test_certificates_are_read_before_the_model(fellrec_home: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("server_app.hosting.server_side", lambda *_: pytest.fail("the model was loaded"))
    certificate, key = Authority(tmp_path).pair("service", -3, -1)
    with pytest.raises(ConfigError, match="'split.certificate' = .* valid from"):
        hosting(fellrec_home, certificate=str(certificate), key=str(key))
