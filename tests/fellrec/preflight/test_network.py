"""fellrec/preflight/network.py: against real ports with TLS, what stands in the way is told apart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from common.cut import Cut
from fellrec.preflight import Finding, Node
from fellrec.preflight import network as checks
from fellrec.preflight.network import clock, split_service, superlink
from fellrec.provision import add
from server_app.split.host import SplitHost
from server_app.split.settings import TlsFiles
from tests.fellrec.preflight.servers import at, federation, free_address, https, listening, verdicts
from tests.server_app.split.tiny import host_for, model_folder

HEALTHY = Starlette(routes=[Route("/health", lambda request: PlainTextResponse("ok"))])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Node]:
    return federation(tmp_path_factory.mktemp("made") / "federation")


@pytest.fixture(scope="module")
def service(made: tuple[Path, Node], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SplitHost, str]]:
    """A split service that asks nodes for certificates."""
    folder, pair = tmp_path_factory.mktemp("service"), made[0] / "server" / "split"
    tls = TlsFiles(pair / "tls.crt", pair / "tls.key", pair / "ca.crt")
    host = host_for(model_folder("bert", folder / "model"), "bert", Cut(1, 1), folder / "state", tls)
    port = host.start().rpartition(":")[2]
    yield host, f"localhost:{port}"
    host.stop(0)


def only(findings: Iterator[Finding]) -> Finding:
    (found,) = list(findings)
    return found


def test_a_superlink_that_answers(made: tuple[Path, Node]) -> None:
    with https(HEALTHY, made[0] / "server" / "superlink") as address:
        found = list(superlink(at(made[1], superlink=address)))
    assert verdicts(found) == {"SuperLink": "ok", "clock": "ok"}


def test_wrong_authority_wrong_name_and_expired_are_told_apart(made: tuple[Path, Node], tmp_path: Path) -> None:
    folder, node = made
    other = federation(tmp_path / "other")[1]
    with https(HEALTHY, folder / "server" / "superlink", host="0.0.0.0") as address:
        wrong = only(superlink(at(node, superlink=address, root_certificate=other.root_certificate)))
        named = only(superlink(at(node, superlink=address.replace("localhost", "127.0.0.2"))))
    assert wrong.verdict == named.verdict == "fail"
    assert "self-signed certificate in certificate chain" in wrong.message or "local issuer" in wrong.message
    assert "federation" in wrong.remedy and "name" in named.remedy
    brief, brief_node = federation(tmp_path / "brief", days=0)
    with https(HEALTHY, brief / "server" / "superlink") as address:
        expired = only(superlink(at(brief_node, superlink=address)))
    assert "expired" in expired.message and "renews" in expired.remedy


def test_a_name_a_port_and_a_silence(made: tuple[Path, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SECONDS", 0.3)
    node = made[1]
    unknown = only(superlink(at(node, superlink="no-such-host.invalid:8443")))
    refused = only(superlink(at(node, superlink=free_address())))
    with listening() as address:
        silent = only(superlink(at(node, superlink=address)))
    assert "DNS" in unknown.message and "refuses" in refused.message and "no answer" in silent.message
    assert {unknown.verdict, refused.verdict, silent.verdict} == {"fail"}
    assert only(superlink(at(node, superlink="nonsense"))).verdict == "fail"


def test_something_else_at_the_port(made: tuple[Path, Node]) -> None:
    with https(Starlette(), made[0] / "server" / "superlink") as address:
        assert "404" in only(superlink(at(made[1], superlink=address))).message


@pytest.mark.parametrize(
    ("skew", "verdict"), [(0, "ok"), (4, "ok"), (-4, "ok"), (7, "warn"), (-7, "warn"), (62, "fail"), (-62, "fail")]
)
def test_clocks_are_compared_in_both_directions(skew: float, verdict: str) -> None:
    there = int(time.time())
    found = clock(formatdate(there, usegmt=True), there + 0.5 + skew)
    assert found.verdict == verdict and (f"{abs(skew)} s" in found.message)
    assert skew == 0 or ("ahead" in found.message) == (skew > 0)


def test_a_server_without_a_date_is_a_warning() -> None:
    assert clock(None, time.time()).verdict == clock("yesterday", time.time()).verdict == "warn"


def test_the_split_service_serves_this_node(made: tuple[Path, Node], service: tuple[SplitHost, str]) -> None:
    assert only(split_service(at(made[1], split=service[1]))).verdict == "ok"


def test_why_the_split_service_does_not_take_a_node_is_named(
    made: tuple[Path, Node], service: tuple[SplitHost, str], tmp_path: Path
) -> None:
    node, other = at(made[1], split=service[1]), federation(tmp_path / "other")[1]
    stranger = at(node, split_certificate=other.split_certificate, split_key=other.split_key)
    bare = at(node, split_certificate=None, split_key=None)
    for refused, message, remedy in (
        (stranger, "was not signed by", "two federations"),
        (bare, "shows none", "fellrec provision"),
        (at(node, root_certificate=other.root_certificate), "certificate", "not of this server's federation"),
    ):
        found = only(split_service(refused))
        assert found.verdict == "fail" and message in found.message and remedy in found.remedy, found


def test_an_expired_certificate_is_named(made: tuple[Path, Node], service: tuple[SplitHost, str]) -> None:
    folder = made[0]
    add(folder, ["late"], 0)
    late = Node.from_env(folder / "nodes" / "late" / "node.env")
    found = only(split_service(at(late, split=service[1])))
    assert found.verdict == "fail" and "expired on" in found.message and "--renew" in found.remedy


def test_a_service_that_trusts_another_authority_is_named(made: tuple[Path, Node], tmp_path: Path) -> None:
    other, pair = federation(tmp_path / "other")[0], made[0] / "server" / "split"
    tls = TlsFiles(pair / "tls.crt", pair / "tls.key", other / "server" / "split" / "ca.crt")
    host = host_for(model_folder("bert", tmp_path / "model"), "bert", Cut(1, 1), tmp_path / "state", tls)
    try:
        found = only(split_service(at(made[1], split=f"localhost:{host.start().rpartition(':')[2]}")))
    finally:
        host.stop(0)
    assert found.verdict == "fail" and "nothing is wrong with it here" in found.message and "client-ca" in found.remedy


def test_plain_text_at_the_split_port_is_named(made: tuple[Path, Node], tmp_path: Path) -> None:
    host = host_for(model_folder("bert", tmp_path / "model"), "bert", Cut(1, 1), tmp_path / "state")
    try:
        found = only(split_service(at(made[1], split=f"localhost:{host.start().rpartition(':')[2]}")))
    finally:
        host.stop(0)
    assert found.verdict == "fail" and "plain text" in found.remedy


def test_without_a_run_nobody_listens_and_that_is_no_failure(made: tuple[Path, Node]) -> None:
    found = only(split_service(at(made[1], split=free_address())))
    assert found.verdict == "warn" and "while a run goes on" in found.remedy


def test_https_at_the_split_port_is_not_the_service(made: tuple[Path, Node]) -> None:
    with https(HEALTHY, made[0] / "server" / "split") as address:
        assert only(split_service(at(made[1], split=address))).verdict == "fail"
