"""The door: who comes, by session, token or proxy; and who may not come in."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from starlette.requests import Request

from featurestore.errors import FeatureStoreError, LimitExceededError, UnauthenticatedError
from featurestore.registry import Token
from featurestore.registry.acting import acting_user
from featurestore.registry.tokens import digest_of, id_of
from monitor.dashboard.people import Person, Role, of_proxy, of_token, trusted
from monitor.dashboard.rates import Rate
from monitor.dashboard.reading import Reader
from monitor.dashboard.sessions import SESSION, Session, Sessions

#: For how long tokens and identities are taken for current, in seconds: one that is revoked counts so long at most.
_FRESH_SECONDS = 1.0

_log = structlog.get_logger("monitor.dashboard")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One call of a browser.

    Attributes:
        session: the one that it has, or a new one.
        person: who it is; None for nobody who is known.
        new: whether the browser has to be given the session's cookie.
    """

    session: Session
    person: Person | None
    new: bool


@dataclass(frozen=True, kw_only=True)
class _Known:
    tokens: Mapping[str, Token]
    identities: frozenset[str]


class Door:
    """Knows who calls.

    Args:
        reader: has the settings and the registry.
        sessions: of browsers.
        clock: seconds of a clock that only goes forward.
    """

    def __init__(self, reader: Reader, sessions: Sessions, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._sessions = sessions
        self._clock = clock
        self._settings = reader.config.dashboard
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._until = 0.0
        self._logins = Rate(self._settings.logins_per_minute)
        self._actions = Rate(self._settings.actions_per_minute)

    def visit(self, request: Request) -> Visit:
        """Return who calls.

        Raises:
            FeatureStoreError: nobody can be known, as the registry cannot be read and never could.
        """
        found = self._sessions.read(request.cookies.get(SESSION, ""))
        session = found or self._sessions.new()
        return Visit(session=session, person=self._person(request, session), new=found is None)

    def _person(self, request: Request, session: Session) -> Person | None:
        match self._settings.authentication:
            case "none":
                return self._local()
            case "proxy":
                known = self._people()
                return of_proxy(dict(request.headers), _peer(request), self._settings, known.identities)
        if not session.token:
            return None
        known = self._people()
        token = known.tokens.get(session.token)
        return None if token is None else of_token(token, known.identities, now=datetime.now(UTC))

    def log_in(self, request: Request, text: str) -> Session:
        """Return the session of whoever shows a token.

        Raises:
            UnauthenticatedError: it is none that is valid, or for no person.
            LimitExceededError: too many were tried from there.
        """
        address = self.address(request)
        if not self._logins.allows(address, now=self._clock()):
            raise LimitExceededError(
                f"More than {self._settings.logins_per_minute} logins a minute were tried from here.",
                hint="Wait a minute.",
            )
        known = self._people()
        token = known.tokens.get(id_of(text.strip()))
        # In constant time, and over hashes: how long it takes says nothing of how much was guessed.
        right = token is not None and hmac.compare_digest(token.digest, digest_of(text.strip()))
        person = of_token(token, known.identities, now=datetime.now(UTC)) if right and token is not None else None
        if token is None or person is None:
            _log.warning("login refused", address=address)
            raise UnauthenticatedError(
                "That is no token for the dashboard that is valid.",
                hint="Ask for one: featurestore token create NAME --scope view",
            )
        _log.info("logged in", name=person.name, who=person.who, role=str(person.role), address=address)
        return self._sessions.new(token.id)

    def check_rate(self, person: Person) -> None:
        """Count an action.

        Raises:
            LimitExceededError: there were too many.
        """
        if not self._actions.allows(person.who, now=self._clock()):
            raise LimitExceededError(
                f"{person.name} asked for more than {self._settings.actions_per_minute} actions a minute.",
                hint="Wait a minute; nothing was done.",
            )

    def address(self, request: Request) -> str:
        """Return where a call comes from: from a proxy that is trusted, what it says."""
        peer = _peer(request)
        forwarded = request.headers.get("x-forwarded-for", "")
        if forwarded and trusted(peer, self._settings.trusted_proxies):
            return forwarded.rpartition(",")[2].strip()
        return peer

    def is_encrypted(self, request: Request) -> bool:
        """Return whether the browser speaks TLS, with us or with a proxy that is trusted."""
        forwarded = request.headers.get("x-forwarded-proto", "")
        told = forwarded == "https" and trusted(_peer(request), self._settings.trusted_proxies)
        return request.url.scheme == "https" or told

    def _local(self) -> Person:
        try:
            who = acting_user(self._reader.config, self._reader.registry)
        except FeatureStoreError as error:
            # Whoever only looks needs no name; nothing is done in this one's.
            return Person(name=error.message, who="", role=Role.viewer)
        return Person(name=who, who=who, role=Role[self._settings.local_role])

    def _people(self) -> _Known:
        """Return tokens and identities; while the registry is away those that were known last."""
        with self._lock:
            if self._known is None or self._clock() >= self._until:
                try:
                    registry = self._reader.registry
                    self._known = _Known(
                        tokens={one.id: one for one in registry.tokens()},
                        identities=frozenset(one.name for one in registry.identities() if one.revoked_at is None),
                    )
                except FeatureStoreError as error:
                    if self._known is None:
                        raise
                    _log.error("tokens cannot be read", error=error.message, hint=error.hint)
                self._until = self._clock() + _FRESH_SECONDS
            return self._known


def _peer(request: Request) -> str:
    return request.client.host if request.client is not None else ""
