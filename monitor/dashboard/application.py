"""The dashboard as an application: pages, actions, the login, and the stream of news."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import anyio.to_thread
import structlog
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from featurestore.errors import (
    FeatureStoreError,
    LimitExceededError,
    ObjectNotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from featurestore.store import FeatureStore
from monitor.dashboard.door import Door, Visit
from monitor.dashboard.guards import STATIC, Guards
from monitor.dashboard.marker import Marker
from monitor.dashboard.news import News
from monitor.dashboard.page import Action, Asked, Doing, Page, Picture, command
from monitor.dashboard.pages import ACTIONS, PAGES, PICTURES
from monitor.dashboard.people import Person
from monitor.dashboard.reading import Reader
from monitor.dashboard.remembering import Remembered, Shown
from monitor.dashboard.rendering import Templates
from monitor.dashboard.sessions import SAID, SAID_SECONDS, SESSION, Sessions

#: Threads that read and render: what is looked at must not take the machine from what is served.
_THREADS = 4
#: Bytes of a form.
_LARGEST = 64_000

_STATUS: tuple[tuple[type[FeatureStoreError], int], ...] = (
    (UnauthenticatedError, 401),
    (PermissionDeniedError, 403),
    (ObjectNotFoundError, 404),
    (LimitExceededError, 429),
)

_T = TypeVar("_T")
_log = structlog.get_logger("monitor.dashboard")


class Dashboard:
    """The dashboard of a feature store.

    Args:
        store: the store; whoever has opened it closes it, after :meth:`close`.

    Attributes:
        application: for an ASGI server.
        news: which is to be ended before the server is.

    Raises:
        ConfigError: the secret of the sessions cannot be read.
    """

    def __init__(self, store: FeatureStore) -> None:
        settings = store.config.dashboard
        self._reader = Reader(store)
        self._sessions = Sessions(store.config.dashboard_secret(), seconds=settings.session_minutes * 60)
        self._door = Door(self._reader, self._sessions)
        self._marker = Marker(self._reader)
        self._remembered = Remembered()
        self._templates = Templates()
        self._limiter = CapacityLimiter(_THREADS)
        self.news = News(lambda: self._in_thread(self._marker.current), most=settings.max_watchers)
        self._reader.servers.start()
        local = settings.authentication == "none"
        self.application = Starlette(
            routes=[
                Route("/", self._begin),
                Route("/login", self._log_in, methods=["GET", "POST"]),
                Route("/logout", self._log_out, methods=["POST"]),
                Route("/events", self._events),
                *(Route(one.path, partial(self._draw, one)) for one in PICTURES),
                *(Route(one.path + ".json", partial(self._show_json, one)) for one in PAGES),
                *(Route(one.path, partial(self._show, one)) for one in PAGES),
                *(Route(one.path, partial(self._act, one), methods=["POST"]) for one in ACTIONS),
                Mount(STATIC, StaticFiles(packages=[("monitor.dashboard", "static")])),
            ],
            middleware=[Middleware(Guards, names=(settings.host, *settings.hosts) if local else None)],
            exception_handlers={
                FeatureStoreError: self._refused,
                HTTPException: self._not_found,
                Exception: self._our_fault,
            },
            max_body_size=_LARGEST,
        )

    def close(self) -> None:
        """Close what was opened beside the store."""
        self._reader.close()

    async def _begin(self, _: Request) -> Response:
        return RedirectResponse("/overview", status_code=307)

    async def _show(self, page: Page, request: Request) -> Response:
        visit = await self._visit(request)
        if visit.person is None:
            return self._to_login(request)
        said = self._sessions.read_said(visit.session, request.cookies.get(SAID, ""))
        response = await self._in_thread(lambda: self._rendered(page, request, visit, said))
        if said is not None:
            response.delete_cookie(SAID)
        return self._with_session(request, response, visit)

    def _rendered(self, page: Page, request: Request, visit: Visit, said: tuple[str, str] | None) -> Response:
        asked, marker = _asked(page.query, request), self._marker.current()
        shown = self._read(page, asked, marker)
        about = {
            "page": page.name,
            "marker": marker,
            "at": shown.at.isoformat(),
            "old": shown.old,
            "said": said,
            "json_address": _json_address(request),
            "twin": command(page.twin(asked), self._reader.config.replay),
        }
        return HTMLResponse(self._templates.html(page.name, self._frame(visit) | about | dict(shown.values)))

    async def _show_json(self, page: Page, request: Request) -> Response:
        visit = await self._visit(request)
        if visit.person is None:
            return JSONResponse({"error": "Log in first.", "hint": "/login"}, status_code=401)
        asked = _asked(page.query, request)

        def read() -> Any:
            shown = self._read(page, asked, self._marker.current())
            return _finite({"at": shown.at.isoformat(), "old": shown.old, **shown.values})

        return JSONResponse(await self._in_thread(read))

    async def _draw(self, picture: Picture, request: Request) -> Response:
        visit = await self._visit(request)
        if visit.person is None:
            return Response(status_code=401)
        asked = _asked((*picture.query, "dark"), request)
        address = repr((picture.path, sorted(asked.path.items()), sorted(asked.query.items())))

        def draw() -> str:
            read = lambda: {"svg": picture.draw(self._reader, asked)}  # noqa: E731
            marker = self._marker.current()
            return str(self._remembered.get(address, marker, picture.seconds, read, now=asked.now).values["svg"])

        return Response(await self._in_thread(draw), media_type="image/svg+xml")

    def _read(self, page: Page, asked: Asked, marker: str) -> Shown:
        address = repr((page.name, sorted(asked.path.items()), sorted(asked.query.items())))
        of = "" if page.steady else marker
        return self._remembered.get(address, of, page.seconds, lambda: page.read(self._reader, asked), now=asked.now)

    async def _act(self, action: Action, request: Request) -> Response:
        visit = await self._visit(request)
        if visit.person is None:
            return self._to_login(request)
        form = await self._form(request, visit)
        person = visit.person
        if not person.may(action.role):
            raise PermissionDeniedError(
                f"{person.name} is {person.role.said}; this is for whoever is {action.role.said} at least.",
                hint="Ask somebody who is, or for another token.",
            )
        self._door.check_rate(person)
        doing = Doing(path=_parts(request), form=form, who=person.who, now=datetime.now(UTC))
        try:
            kind, text = "done", await self._in_thread(lambda: action.act(self._reader, doing))
        except FeatureStoreError as error:
            kind, text = "refused", f"{error.message} {error.hint}".strip()
        self._marker.renew()
        _log.info("action", path=request.url.path, who=person.who, became=kind)
        response = RedirectResponse(action.back(doing.path), status_code=303)
        self._put_cookie(request, response, SAID, self._sessions.write_said(visit.session, kind, text), SAID_SECONDS)
        return response

    async def _log_in(self, request: Request) -> Response:
        visit = await self._visit(request)
        to = _inside(request.query_params.get("next", ""))
        if visit.person is not None and request.method == "GET":
            return RedirectResponse(to, status_code=303)
        how = self._reader.config.dashboard.authentication
        if request.method == "GET":
            # A proxy logs people in itself, so whoever comes here came past it, or it names nobody.
            values = {"title": "Log in", "how": how, "next": to, "error": ""}
            response: Response = self._html("login", visit, values, status=200 if how == "token" else 403)
            return self._with_session(request, response, visit)
        form = await self._form(request, visit)
        try:
            session = await self._in_thread(lambda: self._door.log_in(request, form.get("token", "")))
        except (UnauthenticatedError, LimitExceededError) as error:
            values = {"title": "Log in", "how": how, "next": to, "error": f"{error.message} {error.hint}"}
            return self._html("login", visit, values, status=_status(error))
        response = RedirectResponse(to, status_code=303)
        self._put_cookie(request, response, SESSION, self._sessions.write(session), self._sessions.seconds)
        return response

    async def _log_out(self, request: Request) -> Response:
        visit = await self._visit(request)
        await self._form(request, visit)
        self._sessions.end(visit.session)
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(SESSION)
        return response

    async def _events(self, request: Request) -> Response:
        visit = await self._visit(request)
        if visit.person is None:
            return JSONResponse({"error": "Log in first."}, status_code=401)
        if self.news.full:
            return JSONResponse({"error": "Too many pages are open; reload by hand."}, status_code=503)

        async def stays() -> bool:
            return (await self._visit(request)).person is not None

        stream = self.news.stream(request.query_params.get("since", ""), stays)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def _visit(self, request: Request) -> Visit:
        return await self._in_thread(lambda: self._door.visit(request))

    async def _form(self, request: Request, visit: Visit) -> dict[str, str]:
        """Return a form that came from a page of this session.

        Raises:
            PermissionDeniedError: it did not.
        """
        form = _texts(await request.form(max_files=0, max_fields=50))
        elsewhere = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        origin = request.headers.get("origin", "")
        elsewhere = elsewhere or (origin not in ("", "null") and urlsplit(origin).netloc != request.headers.get("host"))
        if visit.new or elsewhere or not self._sessions.is_form_key(visit.session, form.pop("form_key", "")):
            raise PermissionDeniedError(
                "That form did not come from a page of this session, so nothing was done.",
                hint="Open the page again, and send it from there.",
            )
        return form

    def _frame(self, visit: Visit) -> dict[str, Any]:
        """Return what every page shows around its own."""
        config = self._reader.config
        return {
            "project": config.project,
            "replay": config.replay,
            "menu": [(one.name, one.path, one.menu) for one in PAGES if one.menu],
            "person": _shown(visit.person),
            "can_log_out": bool(visit.session.token),
            "form_key": self._sessions.form_key(visit.session),
            "marker": "",
            "page": "",
            "at": "",
            "old": "",
            "said": None,
            "twin": "",
            "json_address": "",
        }

    def _html(self, name: str, visit: Visit, values: Mapping[str, Any], *, status: int) -> Response:
        return HTMLResponse(self._templates.html(name, self._frame(visit) | dict(values)), status_code=status)

    def _to_login(self, request: Request) -> Response:
        to = request.url.path if request.method == "GET" else "/overview"
        query = f"?{request.url.query}" if request.url.query and request.method == "GET" else ""
        return RedirectResponse(f"/login?{urlencode({'next': to + query})}", status_code=303)

    def _with_session(self, request: Request, response: Response, visit: Visit) -> Response:
        if visit.new:
            self._put_cookie(request, response, SESSION, self._sessions.write(visit.session), self._sessions.seconds)
        return response

    def _put_cookie(self, request: Request, response: Response, name: str, value: str, seconds: int) -> None:
        encrypted = self._door.is_encrypted(request)
        response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=encrypted)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, FeatureStoreError)  # noqa: S101 - it is called for no other
        return await self._error(request, _status(error), error.message, error.hint)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - it is called for no other
        told = "There is no such page." if error.status_code == 404 else f"{error.detail}."
        return await self._error(request, error.status_code, told, "")

    async def _our_fault(self, request: Request, error: Exception) -> Response:
        _log.error("page failed", path=request.url.path, exc_info=error)
        told = f"An unforeseen {type(error).__name__}: this is a fault of featurestore."
        return await self._error(request, 500, told, "The log of the dashboard says where.")

    async def _error(self, request: Request, status: int, message: str, hint: str) -> Response:
        if request.url.path.endswith(".json"):
            return JSONResponse({"error": message, "hint": hint}, status_code=status)
        try:
            visit = await self._visit(request)
        except FeatureStoreError:  # the very error that is told
            visit = Visit(session=self._sessions.new(), person=None, new=True)
        values = {"title": message, "hint": hint, "status": status}
        return self._html("error", visit, values, status=status)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)


def _asked(known: Sequence[str], request: Request) -> Asked:
    query = {name: request.query_params[name] for name in known if name in request.query_params}
    return Asked(path=_parts(request), query=query, now=datetime.now(UTC))


def _parts(request: Request) -> dict[str, str]:
    """Return the parts of an address, by name, as texts."""
    return {key: str(one) for key, one in request.path_params.items()}


def _json_address(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{request.scope['path']}.json{query}"


def _finite(value: Any) -> Any:
    """Return JSON values without the numbers that JSON has not: null in place of an infinity or of none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def _inside(address: str) -> str:
    """Return an address of the dashboard: never one of another site, to which somebody may want to send people."""
    inside = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if inside else "/overview"


def _texts(form: FormData) -> dict[str, str]:
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _shown(person: Person | None) -> dict[str, Any] | None:
    if person is None:
        return None
    return {"name": person.name, "who": person.who, "role": str(person.role), "level": int(person.role)}


def _status(error: FeatureStoreError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
