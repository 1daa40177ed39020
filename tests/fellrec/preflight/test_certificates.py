"""fellrec/preflight/certificates.py: what is wrong with a node's files is told apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from fellrec.preflight.certificates import dated, keys_and_certificates, supernode_key
from fellrec.preflight.node import Node
from tests.fellrec.preflight.servers import at, federation, verdicts


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return federation(tmp_path / "federation")[1]


def said(node: Node) -> str:
    return " ".join(finding.message for finding in keys_and_certificates(node) if finding.verdict == "fail")


def test_a_provisioned_node_is_in_order(node: Node) -> None:
    found = [*keys_and_certificates(node), *supernode_key(node)]
    assert {finding.verdict for finding in found} == {"ok"} and len(found) == 4


def test_dates_are_told_apart(node: Node) -> None:
    certificate = x509.load_pem_x509_certificate(node.split_certificate.read_bytes())
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    second, day = timedelta(seconds=1), timedelta(days=1)
    for now, verdict, word in (
        (begin - second, "fail", "not good before"),
        (begin + second, "ok", "good for"),
        (end - 15 * day, "ok", "good for 15 days"),
        (end - 14 * day + second, "warn", "expires in 13 days"),
        (end, "fail", "expired"),
    ):
        found = dated("x", certificate, now)
        assert found.verdict == verdict and word in found.message and bool(found.remedy) == (verdict != "ok")
    assert dated("x", certificate).verdict == "ok" and begin < datetime.now(UTC)


def test_a_certificate_of_another_federation(node: Node, tmp_path: Path) -> None:
    other = federation(tmp_path / "other")[1]
    assert "not signed by" in said(at(node, root_certificate=other.root_certificate))
    assert "not the certificate's key" in said(at(node, split_key=other.split_key))


def test_a_certificate_of_another_node_or_of_a_server(node: Node, tmp_path: Path) -> None:
    assert "this node is 'shop-b'" in said(at(node, name="shop-b"))
    server = tmp_path / "federation" / "server" / "split"
    assert "a server's" in said(at(node, split_certificate=server / "tls.crt", split_key=server / "tls.key"))


def test_a_key_that_others_can_read_fails(node: Node) -> None:
    for check, path, run in (
        ("split key", node.split_key, keys_and_certificates),
        ("SuperNode key", node.supernode_key, supernode_key),
    ):
        path.chmod(0o640)
        found = [finding for finding in run(node) if finding.verdict == "fail"]
        assert [(f.check, f.remedy) for f in found] == [(check, f"chmod 600 {path}")] and "0640" in found[0].message


@pytest.mark.parametrize("field", ["root_certificate", "split_certificate", "split_key", "supernode_key"])
def test_a_file_that_is_missing_or_is_no_pem_is_named(node: Node, field: str) -> None:
    path = getattr(node, field)
    for spoil in (lambda: path.write_bytes(b"nonsense"), path.unlink):
        spoil()
        found = [f for run in (keys_and_certificates, supernode_key) for f in run(node) if f.verdict == "fail"]
        assert len(found) == 1 and str(path) in found[0].message and found[0].remedy


def test_a_tls_key_is_no_supernode_key(node: Node) -> None:
    assert verdicts(list(supernode_key(at(node, supernode_key=node.split_key)))) == {"SuperNode key": "fail"}


def test_what_is_not_given_is_a_warning_or_nothing() -> None:
    assert verdicts([*keys_and_certificates(Node()), *supernode_key(Node())]) == {
        "root certificate": "warn",
        "SuperNode key": "warn",
    }
