"""fellrec/certificates.py: what an authority signs is accepted for its purpose, and for nothing else."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from common.errors import ConfigError
from fellrec.certificates import Authority, Purpose, pem, renewed, supernode_key


def pair(
    authority: Authority, folder: Path, name: str, purpose: Purpose, hosts: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """A context that shows the certificate, and trusts and demands one of ``authority``."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / f"{name}.crt").write_bytes(pem(authority.issue(name, key.public_key(), purpose, hosts, 10)))
    (folder / f"{name}.key").write_bytes(pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if hosts else ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    context.load_verify_locations(cadata=pem(authority.certificate).decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str:
    """Who the server saw; raises what either side raised."""
    ours, theirs = socket.socketpair()
    seen: list[object] = []

    def answer() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as wrapped:
                seen.append(dict(part[0] for part in wrapped.getpeercert()["subject"])["commonName"])
                wrapped.sendall(b"x")
        except OSError as error:
            seen.append(error)
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=host) as wrapped:
            wrapped.recv(1)
    finally:
        ours.close()
        thread.join(10)
    if isinstance(seen[0], OSError):
        raise seen[0]
    return str(seen[0])


def test_mutual_tls_between_a_server_and_a_node_of_one_authority(tmp_path: Path) -> None:
    authority = Authority.create("one")
    server = pair(authority, tmp_path, "server", "server", ("rec.example", "127.0.0.1", "::1"))
    node = pair(authority, tmp_path, "shop-a", "client")
    for host in ("rec.example", "127.0.0.1", "::1"):
        assert handshake(server, node, host) == "shop-a"
    with pytest.raises(ssl.SSLCertVerificationError, match="rec.other"):
        handshake(server, node, "rec.other")


def test_a_node_cannot_pose_as_a_server_nor_a_server_as_a_node(tmp_path: Path) -> None:
    authority = Authority.create("one")
    posing = pair(authority, tmp_path, "posing", "client", ("rec.example",))
    node = pair(authority, tmp_path, "shop-a", "client")
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        handshake(posing, node, "rec.example")
    server = pair(authority, tmp_path, "server", "server", ("rec.example",))
    other = pair(authority, tmp_path, "gateway", "server", ("gateway",))
    as_client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    as_client.load_cert_chain(tmp_path / "gateway.crt", tmp_path / "gateway.key")
    as_client.load_verify_locations(cadata=pem(authority.certificate).decode())
    assert other is not None
    with pytest.raises(OSError):
        handshake(server, as_client, "rec.example")


def test_another_authority_of_the_same_name_is_not_trusted(tmp_path: Path) -> None:
    server = pair(Authority.create("one"), tmp_path, "server", "server", ("rec.example",))
    node = pair(Authority.create("one"), tmp_path, "shop-a", "client")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, node, "rec.example")


def test_a_renewed_authority_still_vouches_for_what_it_signed() -> None:
    authority = Authority.create("one")
    key = ec.generate_private_key(ec.SECP256R1())
    old = authority.issue("server", key.public_key(), "server", ("rec.example", "10.0.0.1"), 1)
    later = authority.renewed()
    assert later.certificate.serial_number != authority.certificate.serial_number
    old.verify_directly_issued_by(later.certificate)
    new = renewed(later, old, 90)
    assert new.public_key() == old.public_key() and new.not_valid_after_utc > old.not_valid_after_utc
    for kind in (x509.SubjectAlternativeName, x509.ExtendedKeyUsage):
        assert new.extensions.get_extension_for_class(kind) == old.extensions.get_extension_for_class(kind)


def test_nothing_outlives_its_authority() -> None:
    authority = Authority.create("one")
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.issue("server", key.public_key(), "server", ("x",), 36500)
    assert issued.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_a_supernode_key_is_one_that_flower_takes() -> None:
    from flwr.supercore.primitives.asymmetric import uses_nist_ec_curve

    private, public = supernode_key()
    key = load_ssh_private_key(private, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey) and uses_nist_ec_curve(key.public_key())
    assert load_ssh_public_key(public) == key.public_key()


def test_an_authority_is_refused_without_its_own_key(tmp_path: Path) -> None:
    one, other = Authority.create("one"), Authority.create("other")
    (tmp_path / "ca.crt").write_bytes(pem(one.certificate))
    with pytest.raises(ConfigError, match="ca.key"):
        Authority.load(tmp_path / "ca.crt", tmp_path / "ca.key")
    (tmp_path / "ca.key").write_bytes(pem(other.key))
    with pytest.raises(ConfigError, match="not the key"):
        Authority.load(tmp_path / "ca.crt", tmp_path / "ca.key")


def test_an_authority_whose_key_signs_in_another_way_is_refused(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = Authority.create("one").issue("one", key.public_key(), "server", (), 10)
    (tmp_path / "ca.crt").write_bytes(pem(certificate))
    (tmp_path / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match="ca.key.*elliptic"):
        Authority.load(tmp_path / "ca.crt", tmp_path / "ca.key")
