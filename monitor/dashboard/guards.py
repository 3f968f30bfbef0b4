"""What stands before every page: which names a browser may call it by, and what the browser is told to refuse."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Nothing from elsewhere, nothing inline, nowhere else to send a form, and in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Where the style sheet and the script are.
STATIC = "/static"
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guards:
    """Puts these headers on every answer, and refuses names that are not the dashboard's.

    Where nobody has to log in, a page of another site could have its own name point to this machine, and read.

    Args:
        app: what answers.
        names: by which it may be called; None for any.
    """

    def __init__(self, app: ASGIApp, *, names: tuple[str, ...] | None) -> None:
        self._app = app
        self._names = None if names is None else frozenset(one.lower() for one in (*_LOOPBACK, *names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # What one person has seen must not stand in a cache for the next.
                stays = scope["path"].startswith(STATIC + "/")
                headers.setdefault("cache-control", "no-cache" if stays else "no-store")
            await send(message)

        host = _name(Headers(scope=scope).get("host", ""))
        if self._names is not None and host not in self._names:
            text = "This dashboard is not known by that name. Add it to hosts under [dashboard], or ask for tokens.\n"
            await PlainTextResponse(text, status_code=421)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)


def _name(host: str) -> str:
    """Return the name of a host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
