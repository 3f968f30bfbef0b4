"""Who calls: tokens as a server process knows them, without asking the registry for each call."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple

from featurestore.errors import PermissionDeniedError, UnauthenticatedError
from featurestore.registry import Token
from featurestore.registry.tokens import digest_of, id_of

#: By method, what a token must be for; a method that is not here needs a token for admin.
SCOPES = {
    "GetOnlineFeatures": "read",
    "StreamOnlineFeatures": "read",
    "GetServiceSchema": "read",
    "PushFeatures": "push",
    "LogPredictions": "log",
    "LogOutcomes": "log",
    "WatchSignals": "signals",
    "AcknowledgeSignal": "signals",
}
_ADMIN = "admin"
_HOW = "Send it as metadata: authorization: Bearer TOKEN."
_ASK = "Ask for one: featurestore token create NAME --scope"


class Caller:
    """Who makes a call, and how far his token reaches.

    Args:
        token: what he has shown.
        known: the tokens of the server, for calls that outlive a token.
    """

    __slots__ = ("_known", "token")

    def __init__(self, token: Token, known: KnownTokens) -> None:
        self.token = token
        self._known = known

    @property
    def name(self) -> str:
        """The token's name, for logs."""
        return self.token.name

    def check_service(self, reference: str) -> None:
        """Check that he may read a service: ``flight_delay``, ``flight_delay@2``.

        Raises:
            PermissionDeniedError: he may not. Nothing is said of whether there is such a service.
        """
        _check_limit("feature service", reference.partition("@")[0], self.token.services, "read", "service")

    def check_signals(self, reference: str) -> None:
        """Check that he may see and answer the signals of a service: ``flight_delay``, ``flight_delay@2``.

        Raises:
            PermissionDeniedError: he may not. Nothing is said of whether there is such a service.
        """
        _check_limit("signals of", reference.partition("@")[0], self.token.services, "signals", "service")

    def check_view(self, name: str) -> None:
        """Check that he may push to a view.

        Raises:
            PermissionDeniedError: he may not. Nothing is said of whether there is such a view.
        """
        _check_limit("feature view", name, self.token.views, "push", "view")

    def check_standing(self) -> None:
        """Check that his token is still valid: a stream may go on for days.

        Raises:
            UnauthenticatedError: it was revoked, or has expired.
        """
        self._known.check_standing(self.token)


#: Who makes the call that is being answered; None where nobody is asked who he is. Each call has a context of its own.
caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


class _Snapshot(NamedTuple):
    """The tokens of one moment, and what was sent of them since; both go together when tokens change."""

    by_id: Mapping[str, Caller]
    seen: dict[str, Caller]


class KnownTokens:
    """The tokens that a server process knows, as of the registry's last change that it saw.

    What was sent and found right is kept as it was sent, so that a call costs one look into a dict, and a token is
    hashed once. That tells no more by the time it takes: a dict compares texts only where their own hashes agree, and
    those are keyed anew in each process.

    They are replaced as a whole, so that any thread may do it while calls are admitted. While the registry is away,
    those known so far go on being valid until they expire.
    """

    def __init__(self) -> None:
        self._now = _Snapshot({}, {})
        self._entered: set[str] = set()

    def replace(self, tokens: Iterable[Token]) -> None:
        """Know these tokens from now on, and no others; those that were revoked among them are refused as such."""
        self._now = _Snapshot({one.id: Caller(one, self) for one in tokens}, {})

    def enter_expired(self, enter: Callable[[], object]) -> None:
        """Have it entered in the audit log when a token has expired.

        Args:
            enter: enters all that have; called once for each that is new here, and again if that fails.
        """
        now = datetime.now(UTC)
        expired = {id_ for id_, one in self._now.by_id.items() if one.token.state(now) == "expired"}
        if expired - self._entered:
            enter()
            self._entered = expired

    def __len__(self) -> int:
        """Return how many there are, valid or not."""
        return len(self._now.by_id)

    def admit(self, method: str, authorization: str) -> Caller:
        """Return who calls a method.

        Args:
            method: its name: ``GetOnlineFeatures``.
            authorization: what he sent under that name; empty if nothing.

        Raises:
            UnauthenticatedError: he shows no token, or none that is valid.
            PermissionDeniedError: his token is not for that method.
        """
        found = self.identify(authorization)
        scopes = found.token.scopes
        needed = SCOPES.get(method, _ADMIN)
        if needed not in scopes and _ADMIN not in scopes:
            raise PermissionDeniedError(
                f'Token "{found.name}" is for {" and ".join(scopes)}; {method} needs one for {needed}.',
                hint=f"{_ASK} {needed}",
            )
        return found

    def identify(self, authorization: str) -> Caller:
        """Return whose token was sent.

        Raises:
            UnauthenticatedError: none was sent, or none that is valid. What was sent is no part of the error.
        """
        now = self._now
        found = now.seen.get(authorization)
        if found is None:
            found = now.seen[authorization] = self._verified(authorization, now.by_id)
        if found.token.expires_at is not None:
            _check_valid(found.token)
        return found

    def _verified(self, authorization: str, by_id: Mapping[str, Caller]) -> Caller:
        kind, _, text = authorization.partition(" ")
        if not text or kind.lower() != "bearer":
            what = "is none of the kind Bearer" if authorization else "is missing"
            raise UnauthenticatedError(f"This server asks for a token, and it {what}.", hint=_HOW)
        found = by_id.get(id_of(text))
        # In constant time, and over hashes: how long it takes says nothing of how much was guessed.
        if found is None or not hmac.compare_digest(found.token.digest, digest_of(text)):
            raise UnauthenticatedError("The token is not known to this server.", hint=f"{_ASK} read")
        _check_valid(found.token)
        return found

    def check_standing(self, token: Token) -> None:
        """See :meth:`Caller.check_standing`."""
        now = self._now.by_id.get(token.id)
        if now is None:
            raise UnauthenticatedError(f'Token "{token.name}" is not known any more.', hint=f"{_ASK} read")
        _check_valid(now.token)


def _check_valid(token: Token) -> None:
    state = token.state(datetime.now(UTC))
    if state != "valid":
        at = token.revoked_at or token.expires_at
        said = "was revoked on" if state == "revoked" else "has expired, on"
        raise UnauthenticatedError(f'Token "{token.name}" {said} {at:%Y-%m-%d %H:%M} UTC.', hint=f"{_ASK} read")


def _check_limit(what: str, name: str, allowed: tuple[str, ...], scope: str, option: str) -> None:
    if allowed and name not in allowed:
        raise PermissionDeniedError(
            f'The token is not for {what} "{name}".',
            hint=f"It is for {', '.join(allowed)}. {_ASK} {scope} --{option} {name}",
        )
