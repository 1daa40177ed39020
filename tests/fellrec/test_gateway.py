"""fellrec/gateway.py: nodes' paths go through, to the byte; nothing else does."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from common.errors import ConfigError
from fellrec.gateway import gateway
from tests.fellrec.preflight.servers import federation, free_address, https

ASKED: list[str] = []


async def echo(request: Request) -> Response:
    ASKED.append(request.url.path)
    if request.url.path.endswith("stream"):

        async def parts() -> object:
            for part in range(5):
                yield bytes([part]) * 1000
                await asyncio.sleep(0)

        return StreamingResponse(parts(), media_type="application/x-parts")
    if request.url.path.endswith("fail"):
        return JSONResponse({"detail": "no"}, 401)
    body = await request.body()
    return Response(body, headers={"x-size": str(len(body)), "x-signature": request.headers.get("signature", "")})


UPSTREAM = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST", "DELETE"])])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder, _ = federation(tmp_path_factory.mktemp("gateway") / "federation")
    server = folder / "server"
    with https(UPSTREAM, server / "superlink") as upstream:
        app = gateway(upstream, server / "gateway" / "ca.crt", largest=1 << 20)
        with (
            https(app, server / "gateway") as address,
            httpx.Client(
                base_url=f"https://{address}", verify=ssl.create_default_context(cafile=folder / "ca" / "ca.crt")
            ) as found,
        ):
            yield found


def test_bodies_headers_and_answers_go_through_as_they_are(client: httpx.Client) -> None:
    body = bytes(range(256)) * 4000
    reply = client.post("/v1/fleet/push-object", content=body, headers={"signature": "s"})
    assert reply.status_code == 200 and reply.content == body
    assert reply.headers["x-size"] == str(len(body)) and reply.headers["x-signature"] == "s"
    assert client.get("/health").status_code == 200
    assert client.post("/v1/fleet/fail").json() == {"detail": "no"} and client.post("/v1/fleet/fail").status_code == 401
    assert client.post("/v1/fleet/stream").content == b"".join(bytes([part]) * 1000 for part in range(5))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/control/start-run"),
        ("POST", "/v1/runtime/pull-task"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/fleet/activate-node"),
        ("DELETE", "/v1/fleet/activate-node"),
        ("POST", "/health"),
        ("POST", "/v1/fleet/../control/start-run"),
        ("POST", "/v1/fleet/%2e%2e/control/start-run"),
        ("POST", "/v1/fleet/..%2fcontrol%2fstart-run"),
        ("POST", "/v1%2ffleet/activate-node"),
        ("POST", "//v1/fleet/x"),
        ("POST", "/v1/fleet/"),
        ("POST", "/v1/fleet/x/y"),
        ("POST", "/V1/FLEET/x"),
    ],
)
def test_everything_else_is_refused_and_never_reaches_the_superlink(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    ASKED.clear()
    with caplog.at_level(logging.WARNING, "fellrec.gateway"):
        url = httpx.URL(client.base_url).copy_with(raw_path=path.encode())
        assert client.send(httpx.Request(method, url)).status_code == 404
    assert not ASKED
    assert len([record for record in caplog.records if "nodes may use /v1/fleet/" in record.message]) == 1


def test_a_body_beyond_the_limit_is_refused(client: httpx.Client) -> None:
    assert client.post("/v1/fleet/push-object", content=bytes((1 << 20) + 1)).status_code == 413
    assert client.post("/v1/fleet/push-object", content=bytes(1 << 20)).status_code == 200


def test_a_superlink_that_is_away_or_another_is_503_which_flower_tries_again(tmp_path: Path) -> None:
    folder, _ = federation(tmp_path / "federation")
    other, _ = federation(tmp_path / "other")
    root = ssl.create_default_context(cafile=folder / "ca" / "ca.crt")
    with https(UPSTREAM, other / "server" / "superlink") as stranger:
        for upstream in (free_address(), stranger):
            app = gateway(upstream, folder / "server" / "gateway" / "ca.crt")
            with https(app, folder / "server" / "gateway") as address:
                assert httpx.get(f"https://{address}/health", verify=root).status_code == 503


def test_a_root_certificate_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.crt"):
        gateway("superlink:8443", tmp_path / "none.crt")
