"""A client's recommendations over HTTP, for programs on the same machine.

Histories and ids come in as they stand, so the interface listens on loopback only, asks for a token, and its log holds
neither.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from client_app.recommendations import Recommends
from common.config import LOOPBACK
from common.errors import ConfigError, DataError, FellrecError, RequestError, SplitError

log = logging.getLogger("fellrec.api")
LARGEST = 64 << 10
"""Bytes of a request's body."""
MOST_WAITING = 16
"""Requests under way at once; the model answers them one by one."""
KEPT_TIMES = 10_000
"""Newest requests that p50 and p95 are of."""
STATUS = {DataError: 404, ConfigError: 422, SplitError: 503}

Title = Annotated[str, Field(min_length=1, max_length=500)]


class Asked(BaseModel):
    """The body of ``POST /recommend``: a user's id, or the titles that somebody new has met, oldest first."""

    model_config = ConfigDict(extra="forbid", strict=True)
    user: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    history: Annotated[list[Title], Field(min_length=1, max_length=200)] | None = None
    top: Annotated[int, Field(ge=1, le=100)] = 10

    @model_validator(mode="after")
    def _one(self) -> Asked:
        if (self.user is None) == (self.history is None):
            raise ValueError("give either 'user' or 'history'")
        return self


def api(recommending: Recommends, token: str, largest: int = LARGEST, waiting: int = MOST_WAITING) -> FastAPI:
    """The interface of one client as an ASGI app: ``POST /recommend`` with the token, ``GET /health`` without."""
    model, places, times = threading.Lock(), threading.BoundedSemaphore(waiting), deque[float](maxlen=KEPT_TIMES)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        log.info("%s", _told(times))

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.places = places

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "client": recommending.client}

    @app.post("/recommend")
    def recommend(asked: Asked) -> JSONResponse:
        began = time.perf_counter()
        if not places.acquire(blocking=False):
            return _refusal(503, RequestError(f"{waiting} requests are under way", "ask again later"))
        try:
            with model:
                if asked.user is not None:
                    found = recommending.for_user(asked.user, asked.top)
                else:
                    found = recommending.for_history(asked.history or [], asked.top)
        except FellrecError:
            raise
        except Exception as error:
            return _unforeseen(error)
        finally:
            places.release()
        times.append(time.perf_counter() - began)
        return JSONResponse(asdict(found))

    @app.exception_handler(FellrecError)
    async def refused(request: Request, error: FellrecError) -> JSONResponse:
        status = STATUS.get(type(error), 500)
        if status >= 500:
            log.error("%s", error)
        return _refusal(status, error)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        return _refusal(422, RequestError(f"{place}: {problem['msg']}", "see docs/use.md"))

    @app.exception_handler(HTTPException)
    async def elsewhere(request: Request, error: HTTPException) -> JSONResponse:
        hint = "there are POST /recommend and GET /health"
        return _refusal(error.status_code, RequestError(f"{request.method} {request.url.path!r}: {error.detail}", hint))

    app.add_middleware(Guard, token=token, largest=largest)
    return app


class Guard:
    """Who asks, by which name, and how much: looked at before a request reaches anything else."""

    def __init__(self, app: ASGIApp, token: str, largest: int) -> None:
        self._app, self._token, self._largest = app, token.encode(), largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = self._refusal(scope, headers)
        body = b""
        if refusal is None:
            read = await _body(receive, self._largest)
            if read is None:
                refusal = _refusal(413, RequestError(f"the body is over {self._largest} bytes", "shorten the history"))
            else:
                body = read
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> JSONResponse | None:
        # a page in a browser may have its own name lead to this address, and would be of that name's origin
        name = headers.get(b"host", b"").decode("latin-1").split(":")[0]
        if name not in LOOPBACK:
            return _refusal(421, RequestError(f"host {name!r}", f"ask one of {LOOPBACK!r}"))
        if scope["path"] == "/health":
            return None
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer" or not secrets.compare_digest(given.strip(), self._token):
            hint = "send 'Authorization: Bearer TOKEN', as `fellrec api` told it"
            return _refusal(401, RequestError("the token is missing or wrong", hint), {"WWW-Authenticate": "Bearer"})
        return None


def serve(app: FastAPI, port: int, told: Callable[[str], None]) -> None:
    """Serves on loopback until the process is asked to end; ``told`` hears of ``host:port``.

    Raises
    ------
    ConfigError : the port is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((LOOPBACK[0], port))
        except OSError as error:
            raise ConfigError(f"--port is {port!r}: {error}", "choose another, or 0 for a free one") from error
        listening.listen(128)
        told(f"{LOOPBACK[0]}:{listening.getsockname()[1]}")
        settings = uvicorn.Config(app, access_log=False, log_level="warning", ws="none", timeout_graceful_shutdown=5)
        uvicorn.Server(settings).run(sockets=[listening])


def _told(times: deque[float]) -> str:
    if not times:
        return "no recommendation was asked for"
    p50, p95 = (1000 * np.percentile(times, share) for share in (50, 95))
    return f"{len(times)} recommendations: p50 {p50:.1f} ms, p95 {p95:.1f} ms"


def _refusal(status: int, error: FellrecError, headers: dict[str, str] | None = None) -> JSONResponse:
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return JSONResponse({"error": told}, status, headers)


def _unforeseen(error: Exception) -> JSONResponse:
    """Tells the type and where it arose: the message may quote a history."""
    log.error("unexpected %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    body = {"code": "FR999", "message": f"unexpected {type(error).__name__}", "hint": "see the log of `fellrec api`"}
    return JSONResponse({"error": body}, 500)


async def _body(receive: Receive, largest: int) -> bytes | None:
    """A request's body; None where it is too large, or its sender is gone."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > largest:
            return None
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
