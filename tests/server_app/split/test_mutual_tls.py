"""Where clients show certificates, a token is good only beside its owner's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from client_app.link import SplitLink
from common.cut import Cut
from common.errors import ConfigError, SplitError
from server_app.split.host import SplitHost
from server_app.split.settings import TlsFiles
from tests.authority import Authority
from tests.server_app.split.raw import hidden
from tests.server_app.split.tiny import host_for, link_settings

CUT = Cut(1, 1)
HASTY = link_settings("bert", CUT, attempts=2, first_wait=0.01)


@dataclass
class Service:
    host: SplitHost
    address: str
    authority: Authority

    def link(self, token: str, pair: tuple[Path, Path] | None) -> SplitLink:
        """A link with the certificate and key in two files."""
        own = None if pair is None else (pair[0].read_bytes(), pair[1].read_bytes())
        return SplitLink(self.address, token, HASTY, self.authority.path.read_bytes(), own)


@pytest.fixture(scope="module")
def service(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("mutual")
    authority = Authority(folder)
    tls = TlsFiles(*authority.pair("service"), authority.path)
    host = host_for(folders["bert"], "bert", CUT, folder / "state", tls)
    yield Service(host, host.start(), authority)
    host.stop(0)


def test_a_client_with_its_certificate_trains(service: Service) -> None:
    service.host.begin("ann", 1, 0.1, adapter_seed=1)
    with service.link(service.host.mint("ann", 60), service.authority.pair("ann")) as link:
        _, sent = link.forward(hidden())
        link.backward(sent, hidden())
        link.step()
    assert service.host.commit("ann", 1) == 1


def test_a_candidate_of_a_client_is_reached_with_the_clients_certificate(service: Service) -> None:
    service.host.begin("ann@0.5", 1, 0.1, adapter_seed=1)
    token = service.host.mint("ann@0.5", 60, owner="ann")
    with service.link(token, service.authority.pair("ann")) as link:
        assert link.infer(hidden()).isfinite().all()
    service.host.rollback("ann@0.5")


def test_a_stolen_token_is_worth_nothing(service: Service) -> None:
    service.host.begin("ann", 2, 0.1, adapter_seed=1)
    token = service.host.mint("ann", 60)
    for thief in ("bob", "ann@0.5", "Ann", "service"):
        with (
            service.link(token, service.authority.pair(thief)) as link,
            pytest.raises(SplitError, match="'ann'.*PERMISSION_DENIED"),
        ):
            link.infer(hidden())
    service.host.rollback("ann")


def test_without_a_certificate_of_the_authority_there_is_no_connection(service: Service, tmp_path: Path) -> None:
    service.host.begin("ann", 3, 0.1, adapter_seed=1)
    token, stranger = service.host.mint("ann", 60), Authority(tmp_path, "stranger")
    for pair in (None, stranger.pair("ann"), service.authority.pair("ann", -3, -1)):
        with service.link(token, pair) as link, pytest.raises(SplitError, match="2 attempts"):
            link.infer(hidden())
    credentials = grpc.ssl_channel_credentials(service.authority.path.read_bytes())
    with grpc.secure_channel(service.address, credentials) as channel, pytest.raises(grpc.FutureTimeoutError):
        grpc.channel_ready_future(channel).result(0.5)
    service.host.rollback("ann")


@pytest.mark.parametrize("wrong", ["certificate", "key", "client_ca", "expired"])
def test_a_file_that_will_not_do_is_refused_at_the_start(folders: dict[str, Path], tmp_path: Path, wrong: str) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.pair("service", *((-3, -1) if wrong == "expired" else ()))
    files = {"certificate": certificate, "key": key, "client_ca": authority.path}
    if wrong != "expired":
        files[wrong] = tmp_path / "gone.pem"
    host = host_for(folders["bert"], "bert", CUT, tmp_path / "state", TlsFiles(**files))
    field = "certificate" if wrong == "expired" else wrong.replace("_", "-")
    why = "valid from" if wrong == "expired" else "gone.pem' cannot be read"
    with pytest.raises(ConfigError, match=f"'split.{field}' = .*{why}"):
        host.start()
    host.stop(0)
