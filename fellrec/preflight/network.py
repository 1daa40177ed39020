"""Whether both of the server's ports can be reached, told apart by what stands in the way; and what time it is there."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.config import LOOPBACK
from common.wire import METHOD
from fellrec.preflight.certificates import FROM_FOLDER, keys_and_certificates
from fellrec.preflight.finding import Finding
from fellrec.preflight.node import Node

SECONDS = 10.0
SKEW_WARN, SKEW_FAIL = 5.0, 60.0
NO_RUN = "the service listens only while a run goes on: ask whether one does"


def superlink(node: Node) -> Iterator[Finding]:
    """The SuperLink answers over HTTPS, with a certificate that the root signed; and its clock agrees with this one."""
    check = "SuperLink"
    if not node.superlink:
        yield Finding(check, "warn", "not given", "name host:port in FELLREC_SUPERLINK")
        return
    if (trouble := _trouble(check, node.superlink, node)) is not None:
        yield trouble
        return
    try:
        asked = time.time()
        reply = httpx.get(f"https://{node.superlink}/health", verify=_context(node), timeout=SECONDS, trust_env=False)
        took = time.time() - asked
    except httpx.HTTPError as error:
        yield Finding(check, "fail", f"{node.superlink} does not speak HTTP: {error}", "see whether the port is right")
        return
    if not reply.is_success:
        yield Finding(
            check,
            "fail",
            f"https://{node.superlink}/health answers {reply.status_code}",
            "see whether a SuperLink, or the gateway before it, listens there",
        )
        return
    yield Finding(check, "ok", f"{node.superlink} answers in {took * 1000:.0f} ms")
    yield clock(reply.headers.get("date"), asked + took / 2)


def clock(date: str | None, here: float) -> Finding:
    """This machine's clock (``here``, seconds since the epoch) against an HTTP Date header, which has whole seconds."""
    try:
        there = parsedate_to_datetime(date or "").timestamp() + 0.5
    except ValueError:
        return Finding("clock", "warn", f"the server's Date header is {date!r}", "compare the clocks by hand")
    skew = here - there
    told = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server"
    remedy = "set the clock: timedatectl set-ntp true; tokens, certificates and signatures depend on it"
    if abs(skew) > SKEW_FAIL:
        return Finding("clock", "fail", told, remedy)
    if abs(skew) > SKEW_WARN:
        return Finding("clock", "warn", told, remedy)
    return Finding("clock", "ok", told)


def split_service(node: Node) -> Iterator[Finding]:
    """The split service is healthy, and takes this node's certificate where it asks for one."""
    check = "split service"
    if node.k is None and not node.split:
        return
    if not node.split:
        yield Finding(check, "warn", "not given", "name host:port in FELLREC_SPLIT")
        return
    plain = node.root_certificate is None and node.split.rpartition(":")[0].strip("[]") in LOOPBACK
    if (trouble := _trouble(check, node.split, node, plain)) is not None:
        yield trouble
        return
    root, key, chain = (_bytes(p) for p in (node.root_certificate, node.split_key, node.split_certificate))
    pair = (key, chain) if key and chain else (None, None)
    credentials = grpc.ssl_channel_credentials(root, *pair)
    channel = grpc.insecure_channel(node.split) if plain else grpc.secure_channel(node.split, credentials)
    with channel:
        try:
            asked = health_pb2.HealthCheckRequest(service=METHOD.strip("/").split("/")[0])
            health = health_pb2_grpc.HealthStub(channel)
            said = health.Check(asked, timeout=SECONDS).status  # type: ignore[attr-defined]  # made in its __init__
        except grpc.RpcError as error:
            if not plain and _hangs_up(node):
                yield _not_taken(node)
                return
            yield Finding(
                check,
                "fail",
                f"{node.split}: {error.code().name} {error.details()}",
                "see whether fellrec's service listens there",
            )
            return
    if said != health_pb2.HealthCheckResponse.SERVING:
        name = health_pb2.HealthCheckResponse.ServingStatus.Name(said)
        yield Finding(check, "warn", f"{node.split} says {name}", "it is about to stop: try again later")
        return
    yield Finding(check, "ok", f"{node.split} serves")


def _hangs_up(node: Node) -> bool:
    """Whether a gRPC service ends the connection where its settings should come: all it says about a certificate."""
    host, _, port = node.split.rpartition(":")
    host = host.strip("[]")
    context = _context(node)
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, int(port)), SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=host) as connection,
        ):
            return connection.selected_alpn_protocol() == "h2" and not connection.recv(1)
    except (ConnectionError, ssl.SSLError):
        return True
    except OSError:
        return False


def _not_taken(node: Node) -> Finding:
    """Why a service that hangs up does so, from what this node knows of its own files."""
    check = "split service"
    if node.split_certificate is None or node.split_key is None:
        return Finding(check, "fail", f"{node.split} asks for a certificate, and this node shows none", FROM_FOLDER)
    wrong = next((found for found in keys_and_certificates(node) if found.verdict == "fail"), None)
    if wrong is not None:
        return Finding(check, "fail", f"{node.split} does not take {wrong.check}: {wrong.message}", wrong.remedy)
    return Finding(
        check,
        "fail",
        f"{node.split} does not take this node's certificate, and nothing is wrong with it here",
        "see the server's 'split.client-ca' and clock; its log has a line with 'Handshake failed'",
    )


def _trouble(check: str, address: str, node: Node, plain: bool = False) -> Finding | None:
    """What keeps a TLS connection from being made: the name, the way, the port, or the certificate."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), SECONDS) as raw:
            if plain:
                return None
            context = _context(node)
            context.set_alpn_protocols(["h2", "http/1.1"])
            with context.wrap_socket(raw, server_hostname=host):
                return None
    except socket.gaierror as error:
        return Finding(check, "fail", f"DNS knows no {host!r}: {error}", "see the name, and /etc/resolv.conf")
    except ConnectionRefusedError:
        if check == "split service":
            return Finding(check, "warn", f"{address} refuses the connection", NO_RUN)
        return Finding(check, "fail", f"{address} refuses the connection", "see port and whether the server runs")
    except TimeoutError:
        return Finding(
            check, "fail", f"{address}: no answer in {SECONDS:g} s", "a firewall or a route drops it: open the port"
        )
    except ssl.SSLCertVerificationError as error:
        return Finding(check, "fail", f"{address}: {error.verify_message}", _mend(error))
    except ssl.SSLError as error:
        return Finding(
            check, "fail", f"{address}: TLS failed: {error.reason}", "the port speaks another protocol, or plain text"
        )
    except (OSError, ValueError) as error:
        return Finding(check, "fail", f"{address}: {error}", "write host:port, and see the network")


def _mend(error: ssl.SSLCertVerificationError) -> str:
    if "expired" in error.verify_message or "not yet valid" in error.verify_message:
        return "see this machine's clock; else the server's operator renews its certificate"
    if "mismatch" in error.verify_message or "not valid for" in error.verify_message:
        return "use a name for which the certificate was made, or provision with this one"
    return "ca.crt is not of this server's federation: take it from this node's folder"


def _context(node: Node) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(node.root_certificate) if node.root_certificate else None)
    if node.split_certificate and node.split_key:
        try:
            context.load_cert_chain(node.split_certificate, node.split_key)
        except (OSError, ssl.SSLError):
            pass  # the certificates' own check says what is wrong with them
    return context


def _bytes(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError:
        return None
