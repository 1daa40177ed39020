"""A small certificate authority: P-256 keys, and certificates that serve one purpose each (X.509, RFC 5280)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import ConfigError

BACKDATED = timedelta(minutes=5)
"""Certificates begin a little before they are made: the clocks of the machines that read them differ."""
AUTHORITY_DAYS = 3650
AuthorityKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""Kinds of keys that sign with SHA-256."""
Purpose = Literal["server", "client"]
PURPOSES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class Authority:
    """Signs certificates for the servers and the nodes of one federation."""

    certificate: x509.Certificate
    key: AuthorityKey

    @classmethod
    def create(cls, name: str) -> Authority:
        """A new authority, good for ten years; ``name`` is its common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(_authority_certificate(name, key), key)

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Authority:
        """The authority in two PEM files.

        Raises
        ------
        ConfigError : one of them is missing or cannot be read, the key is of a kind that signs otherwise, or they do not
            belong together.
        """
        try:
            found = x509.load_pem_x509_certificate(certificate.read_bytes())
            private = serialization.load_pem_private_key(key.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"the authority {str(key)!r} cannot be read: {error}", "bring its folder back from where it is kept"
            ) from error
        if not isinstance(private, AuthorityKey):
            raise ConfigError(f"{str(key)!r} is neither an elliptic curve's key nor RSA's", "sign with one of these")
        if found.public_key() != private.public_key():
            raise ConfigError(f"{str(key)!r} is not the key of {str(certificate)!r}", "bring back the pair")
        return cls(found, private)

    def renewed(self) -> Authority:
        """The same authority (name and key) with a certificate for another ten years: what it signed stays good."""
        name = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        return Authority(_authority_certificate(str(name), self.key), self.key)

    def issue(
        self, name: str, public_key: CertificatePublicKeyTypes, purpose: Purpose, hosts: Sequence[str], days: float
    ) -> x509.Certificate:
        """A certificate for ``name``; it ends with the authority's at the latest.

        Parameters
        ----------
        purpose : a node's certificate cannot stand for a server, nor a server's for a node.
        hosts : DNS names and IP addresses under which a server is reached.
        days : how long it is good.
        """
        now = datetime.now(UTC)
        builder = (
            _builder(name, self.certificate.subject, public_key)
            .not_valid_after(min(now + timedelta(days=days), self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_data=True, signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([PURPOSES[purpose]]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        names = [_general_name(host) for host in hosts] or [x509.DNSName(name)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def renewed(authority: Authority, old: x509.Certificate, days: float) -> x509.Certificate:
    """The same certificate with other dates: name, key, purpose and hosts stay, so the private key may lie elsewhere."""
    usage = old.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    purpose: Purpose = "server" if ExtendedKeyUsageOID.SERVER_AUTH in usage else "client"
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = [str(name.value) for name in names]
    common = old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return authority.issue(str(common), old.public_key(), purpose, hosts, days)


def pem(thing: x509.Certificate | AuthorityKey) -> bytes:
    """A certificate, or a private key without a pass phrase (PKCS 8), as PEM."""
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    return thing.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def supernode_key() -> tuple[bytes, bytes]:
    """A SuperNode's key pair as Flower reads it: ECDSA P-384, private and public in OpenSSH's format."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public + b"\n"


def _authority_certificate(name: str, key: AuthorityKey) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        _builder(name, subject, key.public_key())
        .not_valid_after(datetime.now(UTC) + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_data=False, signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(name: str, issuer: x509.Name, public_key: CertificatePublicKeyTypes) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - BACKDATED)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(signs_data: bool, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs_data,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
