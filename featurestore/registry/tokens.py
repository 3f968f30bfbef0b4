"""Tokens of the server's callers: made, listed, revoked. The registry has a token's hash, and never the token.

The secret of a token is 256 bits of the system's generator, so plain SHA-256 keeps it: there is nothing to guess that
could be tried out against the hash. A slow hash (scrypt, Argon2) is for passwords, which people choose; here it would
guard nothing more and cost each call of a server what it costs an attacker.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import string
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.engine import Row

from featurestore.errors import DefinitionError, ObjectNotFoundError, RegistryError, closest
from featurestore.registry import schema, values
from featurestore.registry.audit import Event
from featurestore.registry.project import Project
from featurestore.registry.records import Token
from featurestore.registry.versions import Versions
from featurestore.types import microseconds

#: What a token may be for. ``view``, ``operate`` and ``approve`` are for people, at the dashboard; ``admin`` is
#: everything, the clock of a rehearsal among it.
SCOPES = ("read", "push", "log", "signals", "view", "operate", "approve", "admin")

_PREFIX = "fs"
_ID_LETTERS = string.ascii_lowercase + string.digits
_ID_LENGTH = 12
#: Letters and digits alone, so that a double click takes all of it; 43 of 62 are 256 bits.
_SECRET_LETTERS = string.ascii_letters + string.digits
_SECRET_LENGTH = 43
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class NewToken(NamedTuple):
    """A token just made.

    Attributes:
        token: as the registry keeps it.
        text: what the caller sends. It stands nowhere: who does not take it now makes another.
    """

    token: Token
    text: str

    def __repr__(self) -> str:
        return f"NewToken({self.token!r})"


def digest_of(text: str) -> str:
    """Return what is kept of a token: SHA-256 of its text, in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def id_of(text: str) -> str:
    """Return the public part of what may be a token; empty if it has none."""
    prefix, _, rest = text.partition("_")
    return rest.partition("_")[0] if prefix == _PREFIX else ""


class Tokens(Project):
    """The tokens of one project."""

    def create_token(
        self,
        name: str,
        scopes: Collection[str],
        *,
        services: Collection[str] = (),
        views: Collection[str] = (),
        expires_at: datetime | None = None,
        who: str,
    ) -> NewToken:
        """Make a token. A name whose token was revoked or has expired may be given again.

        Args:
            name: what people call it.
            scopes: what it is for, of :data:`SCOPES`.
            services: the feature services that it may read, and whose signals it may see, by name, with all their
                versions; all when empty.
            views: the feature views that it may push to; all when empty.
            expires_at: from when on it is not valid; never when not given.
            who: who makes it.

        Raises:
            DefinitionError: the name cannot be one, or a scope or a limit makes no sense.
            ObjectNotFoundError: there is no such service or view.
            RegistryError: the name has a valid token, or the expiry lies in the past.
        """
        scopes = _checked(name, scopes, services, views)
        at = values.now()
        expires = None if expires_at is None else microseconds(expires_at)
        if expires is not None and expires <= at:
            raise RegistryError(
                f'Token "{name}" would expire at {expires_at:%Y-%m-%d %H:%M}, which is past.',
                hint="Name a duration from now on: --expires 90d",
            )
        with self._write() as connection:
            self._enter_expired(connection, who)
            before = _find(connection, self.project, name)
            if before is not None and _token(before).state(values.instant(at)) == "valid":
                raise RegistryError(
                    f'There is a valid token "{name}".',
                    hint="Make one under another name, give it to the callers, and revoke this one then.",
                )
            versions = Versions(connection, self.project)
            limits = {
                "services": _known(versions, services, "feature_service"),
                "views": _known(versions, views, "feature_view"),
            }
            token_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
            text = "_".join(
                (_PREFIX, token_id, "".join(secrets.choice(_SECRET_LETTERS) for _ in range(_SECRET_LENGTH)))
            )
            row = {
                "token_id": token_id,
                "digest": digest_of(text),
                "scopes": json.dumps(scopes),
                **{kind: json.dumps(names) for kind, names in limits.items()},
                "created_at": at,
                "created_by": who,
                "expires_at": expires,
            }
            key = {"project": self.project, "name": name}
            connection.execute(delete(schema.tokens).filter_by(**key))
            connection.execute(insert(schema.tokens).values(**key, **row))
            self._revise(connection)
            self._audit(connection, who, Event(action="token", object=name, details=_details("create", row)))
            created = _find(connection, self.project, name)
            assert created is not None  # noqa: S101 - written above
            return NewToken(_token(created), text)

    def revoke_token(self, name: str, *, who: str) -> Token:
        """Make a token worth nothing, from now on and for ever. Servers know within about a second.

        Raises:
            ObjectNotFoundError: there is no such token.
            RegistryError: it was revoked before.
        """
        with self._write() as connection:
            self._enter_expired(connection, who)
            row = _find(connection, self.project, name)
            if row is None:
                names = connection.execute(select(schema.tokens.c.name).filter_by(project=self.project)).scalars()
                raise ObjectNotFoundError(
                    f'There is no token "{name}".',
                    hint=closest(name, names) or "Make one: featurestore token create NAME --scope read",
                )
            if row.revoked_at is not None:
                raise RegistryError(f'Token "{name}" was revoked on {values.instant(row.revoked_at):%Y-%m-%d}.')
            key = {"project": self.project, "name": name}
            connection.execute(update(schema.tokens).filter_by(**key).values(revoked_at=values.now()))
            self._revise(connection)
            event = Event(action="token", object=name, details={"change": "revoke", "id": row.token_id})
            self._audit(connection, who, event)
            revoked = _find(connection, self.project, name)
            assert revoked is not None  # noqa: S101 - found above
            return _token(revoked)

    def tokens(self) -> list[Token]:
        """Return every token by name, those that are worth nothing any more too."""
        with self._database.read() as connection:
            rows = connection.execute(select(schema.tokens).filter_by(project=self.project))
            return [_token(row) for row in sorted(rows, key=lambda row: row.name)]

    def enter_expired_tokens(self, *, who: str) -> tuple[str, ...]:
        """Enter in the audit log which tokens have expired, each once, and return their names.

        Nobody does anything when a token expires, so whoever notices it enters it: a server, or the next change.
        """
        with self._write() as connection:
            return self._enter_expired(connection, who)

    def _enter_expired(self, connection: Connection, who: str) -> tuple[str, ...]:
        table = schema.tokens.c
        at = values.now()
        query = select(schema.tokens).where(
            table.project == self.project,
            table.expires_at <= at,
            table.revoked_at.is_(None),
            table.expiry_entered_at.is_(None),
        )
        expired = sorted(connection.execute(query), key=lambda row: row.name)
        for row in expired:
            key = {"project": self.project, "name": row.name}
            connection.execute(update(schema.tokens).filter_by(**key).values(expiry_entered_at=at))
            details = {"change": "expire", "id": row.token_id, "expires_at": _said(row.expires_at)}
            self._audit(connection, who, Event(action="token", object=row.name, details=details))
        return tuple(row.name for row in expired)


def contradictions(connection: Connection, project: str) -> Iterable[str]:
    """Yield a sentence for each token that is not as the audit log left it.

    Whoever can write the table can let himself in: the log says nothing of that, and so the row gives him away.
    """
    log = schema.audit.c
    query = select(log.object, log.details).where(log.project == project, log.action == "token").order_by(log.sequence)
    made: dict[str, Mapping[str, Any]] = {}
    revoked: set[str] = set()
    for name, text in connection.execute(query):
        details = json.loads(text)
        if details.get("change") == "create":
            made[name] = details
        elif details.get("change") == "revoke":
            revoked.add(details.get("id", ""))
    kept = {row.name: row for row in connection.execute(select(schema.tokens).filter_by(project=project))}
    for name in sorted(made.keys() | kept.keys()):
        row, said = kept.get(name), made.get(name, {})
        if row is None:
            yield f'Token "{name}" is gone, and the log says nothing of that.'
        elif any(said.get(key) != value for key, value in _details("create", row._mapping).items()) or (
            (row.revoked_at is not None) != (row.token_id in revoked)
        ):
            yield f'Token "{name}" is not what the log says of it: its row was changed.'


def _details(change: str, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what the audit log says of a token that is made; a hash of its hash, so that the row can be checked."""
    return {
        "change": change,
        "id": row["token_id"],
        "scopes": json.loads(row["scopes"]),
        "services": json.loads(row["services"]),
        "views": json.loads(row["views"]),
        "expires_at": _said(row["expires_at"]),
        "fingerprint": hashlib.sha256(row["digest"].encode()).hexdigest()[:32],
    }


def _said(instant: int | None) -> str | None:
    return None if instant is None else values.instant(instant).isoformat()


def _checked(name: str, scopes: Collection[str], services: Collection[str], views: Collection[str]) -> list[str]:
    """Return the scopes in their order, if the token can be made.

    Raises:
        DefinitionError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{name!r} cannot name a token.",
            hint='Use letters, digits, "_", "-" and ".", a letter or a digit first, at most 64 of them.',
        )
    for one in scopes:
        if one not in SCOPES:
            raise DefinitionError(f'There is no scope "{one}".', hint=closest(one, SCOPES))
    if not scopes:
        raise DefinitionError(
            f'Token "{name}" would be for nothing.', hint=f"Name a scope: {', '.join(SCOPES[:-1])} or {SCOPES[-1]}."
        )
    for what, limits, limited in (("services", services, ("read", "signals")), ("views", views, ("push",))):
        if limits and ("admin" in scopes or not set(limited) & set(scopes)):
            named = " and ".join(limited)
            why = "admin is for everything" if "admin" in scopes else f"it has no scope {' or '.join(limited)}"
            raise DefinitionError(
                f'Token "{name}" cannot be limited to {what}: {why}.',
                hint=f"They limit the scope{'s' * (len(limited) > 1)} {named}.",
            )
    return [one for one in SCOPES if one in scopes]


def _known(versions: Versions, names: Collection[str], kind: str) -> list[str]:
    for name in names:
        bare, version = values.split_reference(name)
        if version is not None:
            raise DefinitionError(f'"{name}" is a version; a token is for all of them.', hint=f'Name it: "{bare}".')
        versions.find(name, kind)
    return sorted(set(names))


def _find(connection: Connection, project: str, name: str) -> Row[Any] | None:
    return connection.execute(select(schema.tokens).filter_by(project=project, name=name)).first()


def _token(row: Row[Any]) -> Token:
    return Token(
        name=row.name,
        id=row.token_id,
        digest=row.digest,
        scopes=tuple(json.loads(row.scopes)),
        services=tuple(json.loads(row.services)),
        views=tuple(json.loads(row.views)),
        created_at=values.instant(row.created_at),
        created_by=row.created_by,
        expires_at=None if row.expires_at is None else values.instant(row.expires_at),
        revoked_at=None if row.revoked_at is None else values.instant(row.revoked_at),
    )
