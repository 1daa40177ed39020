"""The folders of a federation on real machines: an authority, the server's certificates, and what each node needs.

::

    DIR/deployment.json          hosts and addresses, for later additions
        ca/                      the authority with its key; belongs off line, and is only needed here
        server/superlink/        ca.crt, tls.crt, tls.key: for Flower's SuperLink
               gateway/          the same, for the reverse proxy in front of it
               split/            the same, for the process that runs the ServerApp
               supernodes/       every node's public key, for `flwr supernode register`
               register.sh, run.settings
        nodes/NAME/              ca.crt, split.crt, split.key, supernode.key, node.env, start.sh

A private key is written once, into the one folder that goes to its owner. Renewing changes a certificate and keeps its key, so
only the certificate has to travel.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from common.errors import ConfigError
from fellrec.certificates import Authority, Purpose, pem, renewed, supernode_key
from fellrec.node_files import NODE_ENV, REGISTER, START, run_settings

SERVERS = ("superlink", "gateway", "split")
ALWAYS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Deployment:
    """Where the server is, as nodes see it.

    Attributes
    ----------
    hosts : DNS names and IP addresses of the server, the first one for addresses.
    superlink, split : ``host:port`` of the SuperLink (or the gateway before it) and of the split service.
    data_path : where a node's data lie on it.
    model : what ``preflight`` is to find: name, k, m, digest and split of the data, by their names in ``node.env``.
    """

    hosts: tuple[str, ...]
    superlink: str
    split: str
    data_path: str
    model: dict[str, str]


def provision(out: Path, deployment: Deployment, nodes: Sequence[str], days: float) -> None:
    """Makes a new federation's folders; they are there whole or not at all.

    Raises
    ------
    ConfigError : ``out`` exists.
    """
    if out.exists():
        raise ConfigError(
            f"{str(out)!r} exists", "use --add for more nodes, --renew for certificates, or another folder"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        _folder(partial)
        authority = Authority.create(f"fellrec {deployment.hosts[0]}")
        _folder(partial / "ca")
        _write(partial / "ca" / "ca.crt", pem(authority.certificate))
        _write(partial / "ca" / "ca.key", pem(authority.key), secret=True)
        _write(partial / "deployment.json", json.dumps(asdict(deployment), indent=1).encode())
        _server(partial / "server", authority, deployment, days)
        _folder(partial / "nodes")
        for name in nodes:
            _node(partial, name, authority, deployment, days)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def add(out: Path, nodes: Sequence[str], days: float) -> None:
    """Adds nodes to a federation; nothing that is there is touched.

    Raises
    ------
    ConfigError : there is no federation, its authority's key is missing, or a node exists.
    """
    deployment, authority = _existing(out)
    for name in nodes:
        if (out / "nodes" / name).exists() or (out / "server" / "supernodes" / f"{name}.pub").exists():
            raise ConfigError(
                f"node {name!r} exists in {str(out)!r}", "name new nodes only; --renew keeps old ones going"
            )
    for name in nodes:
        _node(out, name, authority, deployment, days)


def renew(out: Path, days: float, within: float) -> list[Path]:
    """Renews every certificate that ends within so many days; returns the files that changed.

    Raises
    ------
    ConfigError : there is no federation, or its authority's key is missing.
    """
    _, authority = _existing(out)
    soon = datetime.now(UTC) + timedelta(days=within)
    changed: list[Path] = []
    if authority.certificate.not_valid_after_utc < soon:
        authority = authority.renewed()
        for path in sorted(out.rglob("ca.crt")):
            _replace(path, pem(authority.certificate))
            changed.append(path)
    for path in [*sorted(out.glob("server/*/tls.crt")), *sorted(out.glob("nodes/*/split.crt"))]:
        old = x509.load_pem_x509_certificate(path.read_bytes())
        if old.not_valid_after_utc < soon:
            _replace(path, pem(renewed(authority, old, days)))
            changed.append(path)
    return changed


def _existing(out: Path) -> tuple[Deployment, Authority]:
    try:
        raw = json.loads((out / "deployment.json").read_text(encoding="utf-8"))
        deployment = Deployment(**{**raw, "hosts": tuple(raw["hosts"])})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"no federation in {str(out)!r}: {error}", "make one first, without --add and --renew"
        ) from error
    return deployment, Authority.load(out / "ca" / "ca.crt", out / "ca" / "ca.key")


def _server(folder: Path, authority: Authority, deployment: Deployment, days: float) -> None:
    _folder(folder)
    for name in SERVERS:
        _folder(folder / name)
        _write(folder / name / "ca.crt", pem(authority.certificate))
        hosts = list(dict.fromkeys([*deployment.hosts, *_hosts_of(deployment), name, *ALWAYS]))
        _pair(folder / name, "tls", authority, name, "server", hosts, days)
    _folder(folder / "supernodes")
    _write(folder / "register.sh", REGISTER.encode(), mode=0o755)
    _write(folder / "run.settings", run_settings(deployment.split).encode())


def _node(out: Path, name: str, authority: Authority, deployment: Deployment, days: float) -> None:
    final = out / "nodes" / name
    partial = final.with_name(f".{name}.{os.getpid()}.part")
    try:
        _folder(partial)
        _write(partial / "ca.crt", pem(authority.certificate))
        _pair(partial, "split", authority, name, "client", (), days)
        private, public = supernode_key()
        _write(partial / "supernode.key", private, secret=True)
        settings = {
            "FELLREC_NODE": name,
            "FELLREC_DATA_PATH": deployment.data_path,
            "FELLREC_SUPERLINK": deployment.superlink,
            "FELLREC_SPLIT": deployment.split,
            **deployment.model,
        }
        _write(partial / "node.env", NODE_ENV.format("\n".join(f"{k}={v}" for k, v in settings.items())).encode())
        _write(partial / "start.sh", START.encode(), mode=0o755)
        _write(out / "server" / "supernodes" / f"{name}.pub", public)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _pair(
    folder: Path, stem: str, authority: Authority, name: str, purpose: Purpose, hosts: Sequence[str], days: float
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _write(folder / f"{stem}.key", pem(key), secret=True)
    _write(folder / f"{stem}.crt", pem(authority.issue(name, key.public_key(), purpose, hosts, days)))


def _hosts_of(deployment: Deployment) -> list[str]:
    return [address.rpartition(":")[0].strip("[]") for address in (deployment.superlink, deployment.split)]


def _folder(path: Path) -> None:
    path.mkdir(mode=0o700)


def _write(path: Path, content: bytes, secret: bool = False, mode: int = 0o644) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    _write(partial, content)
    partial.replace(path)
