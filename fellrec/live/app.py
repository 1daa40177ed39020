"""The live page's server: a page and a stream, to be read by who has the token, and nothing else."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from fellrec.live.feed import Feed, Position
from fellrec.live.page import POLICY, page

HOSTS = ["127.0.0.1", "localhost"]
"""Names by which the page may be asked. Another name that leads here is another site's (DNS rebinding)."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
AGAIN_MS = 2000
"""When a browser that lost the stream asks again."""


def live(
    feed: Feed, token: str, every: float = 0.5, alive: float = 15.0, ended: Callable[[], bool] = lambda: False
) -> Starlette:
    """The server as an ASGI app.

    The token stays in the address of the page and of its stream. There is no cookie, which a browser would send to every
    other port of this machine too, and so nothing that another site's request could borrow.

    Parameters
    ----------
    every : seconds between looks at the log. alive : seconds of silence after which a stream shows that it lives.
    ended : whether streams are to end, since the server does.
    """

    def guarded(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guard(request: Request) -> Response:
            given = request.query_params.get("token", "")
            if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
                return PlainTextResponse("open the address that `fellrec live` printed", 403, HEADERS)
            return await answer(request)

        return guard

    @guarded
    async def whole(request: Request) -> Response:
        position, run, parts = await run_in_threadpool(feed.now)
        return HTMLResponse(page(run, position, parts), headers=HEADERS)

    @guarded
    async def events(request: Request) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after", "")
        stream = _stream(feed, Position.read(after), every, alive, ended)
        return StreamingResponse(stream, media_type="text/event-stream", headers=HEADERS | {"X-Accel-Buffering": "no"})

    app = Starlette(
        routes=[Route("/", whole, methods=["GET"]), Route("/events", events, methods=["GET"])],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)],
    )
    app.router.redirect_slashes = False
    return app


async def _stream(
    feed: Feed, position: Position, every: float, alive: float, ended: Callable[[], bool]
) -> AsyncIterator[str]:
    yield f"retry: {AGAIN_MS}\n\n"
    silent = 0.0
    while not ended():
        here, parts = await run_in_threadpool(feed.since, position)
        if here != position:
            position, silent = here, 0.0
            # JSON has no bare line ends, so that one data line holds it
            yield f"id: {here}\ndata: {json.dumps(parts)}\n\n"
        elif silent >= alive:
            silent = 0.0
            yield ": alive\n\n"
        await asyncio.sleep(every)
        silent += every
