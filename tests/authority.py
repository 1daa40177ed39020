"""A certificate authority for tests: it signs whatever it is asked to."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

DAY = datetime.timedelta(days=1)


class Authority:
    """Files lie in ``folder``; ``path`` is its own certificate."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name, self._count = folder, name, 0
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = self._certificate(name, name, self._key, -1, 1, authority=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(made.public_bytes(Encoding.PEM))

    def pair(self, name: str, begins: float = -1, ends: float = 1) -> tuple[Path, Path]:
        """Files of a certificate for ``name`` at 127.0.0.1 and of its key; valid so many days from today."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._certificate(name, self._name, key, begins, ends, authority=False)
        certificate, private = (self._folder / f"{self._name}-{name}-{kind}.pem" for kind in ("certificate", "key"))
        certificate.write_bytes(made.public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, private

    def _certificate(
        self, name: str, issuer: str, key: ec.EllipticCurvePrivateKey, begins: float, ends: float, authority: bool
    ) -> x509.Certificate:
        self._count += 1
        now = datetime.datetime.now(datetime.UTC)
        subject, by = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)]) for one in (name, issuer))
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by)
            .public_key(key.public_key())
            .serial_number(self._count)
            .not_valid_before(now + begins * DAY)
            .not_valid_after(now + ends * DAY)
            .add_extension(here, critical=False)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
