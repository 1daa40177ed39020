"""A reverse proxy before a SuperLink: nodes reach the nodes' paths and its health, and nothing else.

Flower serves nodes, users and executors on one port and knows no users: whoever reaches ``/v1/control`` may run code on
every node. Nodes sign their requests themselves, so the gateway adds no identity and needs no secret but its TLS key.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from common.errors import ConfigError

log = logging.getLogger("fellrec.gateway")
OPEN = {"POST": re.compile(rb"/v1/fleet/[a-z-]{1,64}"), "GET": re.compile(rb"/health")}
"""What nodes may ask, by method; compared with the path as it was sent, before any decoding."""
LARGEST = 64 << 20
"""Bytes of one request; Flower sends arrays in pieces of 5 MiB."""
HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
}


class _TooLarge(Exception):
    pass


def gateway(upstream: str, root_certificate: Path | None, largest: int = LARGEST) -> Starlette:
    """The proxy as an ASGI app.

    Parameters
    ----------
    upstream : ``host:port`` of the SuperLink, reached over TLS.
    root_certificate : PEM that signed the SuperLink's certificate; None takes the system's.

    Raises
    ------
    ConfigError : the root certificate cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=str(root_certificate) if root_certificate else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"root certificate {str(root_certificate)!r} cannot be read: {error}", "give a PEM"
        ) from error
    # trust_env: a proxy of the environment must not come between
    client = httpx.AsyncClient(base_url=f"https://{upstream}", verify=context, timeout=60.0, trust_env=False)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await client.aclose()

    async def forward(request: Request) -> Response:
        path, peer = request.scope.get("raw_path") or b"", request.client.host if request.client else "?"
        pattern = OPEN.get(request.method)
        if pattern is None or not pattern.fullmatch(path):
            log.warning(
                "refused %s %.100r from %s: nodes may use /v1/fleet/ and /health; use flwr beside the SuperLink",
                request.method,
                path,
                peer,
            )
            return PlainTextResponse("not for nodes", 404)
        headers = [(name, value) for name, value in request.headers.items() if name not in HOP_BY_HOP]
        sent = client.build_request(request.method, path.decode(), headers=headers, content=_limited(request, largest))
        try:
            reply = await client.send(sent, stream=True)
        except _TooLarge:
            log.warning("refused a request of more than %d bytes from %s", largest, peer)
            return PlainTextResponse("too large", 413)
        except ClientDisconnect:
            return Response(status_code=400)
        except httpx.HTTPError as error:
            log.warning("the SuperLink at %s does not answer: %s", upstream, error or type(error).__name__)
            return PlainTextResponse("the SuperLink does not answer", 503)
        kept = {name: value for name, value in reply.headers.items() if name not in HOP_BY_HOP | {"date", "server"}}
        return StreamingResponse(_body(reply), reply.status_code, kept)

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return Starlette(routes=[Route("/{path:path}", forward, methods=methods)], lifespan=lifespan)


def serve(app: Starlette, host: str, port: int, certificate: Path, key: Path) -> None:
    """Serves the proxy over TLS until the process is asked to end.

    Raises
    ------
    ConfigError : certificate or key cannot be read.
    """
    for path in (certificate, key):
        if not path.is_file():
            raise ConfigError(f"{str(path)!r} is not there", "give the gateway's tls.crt and tls.key")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    uvicorn.run(
        app,
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        access_log=False,
        log_level="warning",
        ws="none",
        timeout_graceful_shutdown=5,
    )


async def _limited(request: Request, largest: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > largest:
            raise _TooLarge
        yield chunk


async def _body(reply: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in reply.aiter_raw():
            yield chunk
    finally:
        await reply.aclose()
