"""Certificates as PEM files: read, and refused with their reason before a handshake fails without one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.errors import ConfigError


def read_authorities(path: Path | str, field: str) -> bytes:
    """The certificates of authorities, of which at least one is valid today.

    Parameters
    ----------
    field : what the setting is called, for the error.

    Raises
    ------
    ConfigError : the file cannot be read, is no PEM, or no certificate in it is valid today.
    """
    pem = _read(path, field)
    found = _parsed(pem, path, field)
    if not any(_is_valid(one) for one in found):
        raise _out_of_date(found[0], path, field)
    return pem


def read_pair(certificate: Path | str, key: Path | str, fields: tuple[str, str]) -> tuple[bytes, bytes]:
    """A certificate chain, its owner's first, and the owner's private key (without a password).

    Parameters
    ----------
    fields : what the two settings are called, for errors.

    Raises
    ------
    ConfigError : a file cannot be read or is no PEM, the owner's certificate is not valid today, or the key is another's.
    """
    chain, private = _read(certificate, fields[0]), _read(key, fields[1])
    owner = _parsed(chain, certificate, fields[0])[0]
    if not _is_valid(owner):
        raise _out_of_date(owner, certificate, fields[0])
    try:
        public = load_pem_private_key(private, None).public_key()
    except (ValueError, TypeError) as error:
        # the error's own text may quote the file
        raise ConfigError(
            f"{fields[1]!r} = {str(key)!r} holds no private key, or one with a password",
            "give the key as PEM, without a password",
        ) from error
    if public != owner.public_key():
        raise ConfigError(
            f"{fields[1]!r} = {str(key)!r} does not belong to {fields[0]!r} = {str(certificate)!r}",
            "give the key that the certificate was made for",
        )
    return chain, private


def _read(path: Path | str, field: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{field!r} = {str(path)!r} cannot be read: {error}", "give the path of a PEM file"
        ) from error


def _parsed(pem: bytes, path: Path | str, field: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigError(f"{field!r} = {str(path)!r} holds no certificate", "give a PEM file") from error


def _is_valid(one: x509.Certificate) -> bool:
    return one.not_valid_before_utc <= datetime.now(UTC) <= one.not_valid_after_utc


def _out_of_date(one: x509.Certificate, path: Path | str, field: str) -> ConfigError:
    return ConfigError(
        f"{field!r} = {str(path)!r} is valid from {one.not_valid_before_utc.isoformat()} to"
        f" {one.not_valid_after_utc.isoformat()}, not today",
        "give one that is valid, or set this machine's clock",
    )
