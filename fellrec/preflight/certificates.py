"""The node's files: whether they are there, fit together, are kept private, and are good today."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fellrec.preflight.finding import Finding
from fellrec.preflight.node import Node

SOON = timedelta(days=14)
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
RENEW = "renew it with `fellrec provision --renew`, and copy the new .crt here"
FROM_FOLDER = "take it from this node's folder, as `fellrec provision` made it"


def keys_and_certificates(node: Node) -> Iterator[Finding]:
    """The root certificate, and the node's own for the split service."""
    root: x509.Certificate | None = None
    if node.root_certificate is None:
        yield Finding("root certificate", "warn", "not given", "name ca.crt in FELLREC_ROOT_CERTIFICATE")
    elif isinstance(found := _certificate("root certificate", node.root_certificate), Finding):
        yield found
    else:
        root = found
        yield dated("root certificate", root)
    if node.split_certificate is None:
        return
    own = _certificate("split certificate", node.split_certificate)
    if isinstance(own, Finding):
        yield own
        return
    yield dated("split certificate", own)
    yield from _belongs(own, root, node)
    if node.split_key is None:
        yield Finding("split key", "fail", "not given", "name split.key in FELLREC_SPLIT_KEY")
        return
    yield from _key_of(own, node.split_key)


def supernode_key(node: Node) -> Iterator[Finding]:
    """The key by which the SuperLink knows this node: ECDSA on a NIST curve, in OpenSSH's format."""
    path, check = node.supernode_key, "SuperNode key"
    if path is None:
        yield Finding(check, "warn", "not given", "a server with --enable-supernode-auth refuses a node without one")
        return
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        yield Finding(check, "fail", f"{path} cannot be read: {error}", FROM_FOLDER)
        return
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, CURVES):
        yield Finding(check, "fail", f"{path} is no ECDSA key on a NIST curve", FROM_FOLDER)
        return
    yield _private(check, path) or Finding(check, "ok", f"ECDSA {key.curve.name}")


def dated(check: str, certificate: x509.Certificate, now: datetime | None = None) -> Finding:
    """Whether a certificate is good now, and for how long."""
    now = now or datetime.now(UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return Finding(
            check,
            "fail",
            f"not good before {begin:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M}",
            "set this machine's clock (timedatectl set-ntp true), or wait",
        )
    if now >= end:
        return Finding(check, "fail", f"expired on {end:%Y-%m-%d %H:%M} UTC", RENEW)
    days = (end - now).days
    if end - now < SOON:
        return Finding(check, "warn", f"expires in {days} days, on {end:%Y-%m-%d}", RENEW)
    return Finding(check, "ok", f"good for {days} days")


def _certificate(check: str, path: Path) -> x509.Certificate | Finding:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return Finding(check, "fail", f"{path} cannot be read: {error}", FROM_FOLDER)


def _belongs(own: x509.Certificate, root: x509.Certificate | None, node: Node) -> Iterator[Finding]:
    check = "split certificate"
    if root is not None:
        try:
            own.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            yield Finding(
                check,
                "fail",
                f"it was not signed by {node.root_certificate}",
                "take both from one folder: they are of two federations",
            )
    try:
        usage = list(own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        yield Finding(check, "fail", "it is a server's, not a node's", FROM_FOLDER)
    names = [str(name.value) for name in own.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if node.name and node.name not in names:
        yield Finding(check, "fail", f"it is for {', '.join(names)!r}, this node is {node.name!r}", FROM_FOLDER)


def _key_of(certificate: x509.Certificate, path: Path) -> Iterator[Finding]:
    check = "split key"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        yield Finding(check, "fail", f"{path} cannot be read: {error}", FROM_FOLDER)
        return
    if key.public_key() != certificate.public_key():
        yield Finding(check, "fail", f"{path} is not the certificate's key", FROM_FOLDER)
        return
    yield _private(check, path) or Finding(check, "ok", "fits the certificate")


def _private(check: str, path: Path) -> Finding | None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(check, "fail", f"{path} has mode {mode:04o}: others can read it", f"chmod 600 {path}")
    return None
