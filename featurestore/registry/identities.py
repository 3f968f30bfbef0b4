"""Identities: names that people and machines prove by a key. They hold for every project of a registry."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.engine import Row

from featurestore.errors import ObjectNotFoundError, RegistryError, closest
from featurestore.registry import audit, schema, signing, values
from featurestore.registry.audit import Event
from featurestore.registry.identity import check_identity_name, current_user, is_verified
from featurestore.registry.project import Project
from featurestore.registry.records import Identity


class Identities(Project):
    """Who is known to a registry."""

    def add_identity(self, name: str, public_key: str, *, who: str) -> Identity:
        """Register a name with its public key.

        The first may be added by anyone; from then on only a verified identity vouches for another. A revoked name may
        be added again, with a new key.

        Args:
            name: the name.
            public_key: as ``featurestore identity create`` prints it.
            who: who adds it.

        Raises:
            DefinitionError: the name cannot be one, or the key is none.
            RegistryError: the name is taken, or ``who`` is not verified.
        """
        check_identity_name(name)
        signing.check_public(public_key)
        with self._write() as connection:
            _lock(connection)
            known = connection.execute(select(schema.identities)).all()
            if known:
                _check_actor(known, who, f'"{name}" cannot be added')
            before = next((one for one in known if one.name == name), None)
            if before is not None and before.revoked_at is None:
                raise RegistryError(
                    f'The identity "{name}" exists.', hint=f"To give it a new key: featurestore identity revoke {name}"
                )
            other = next((one for one in known if one.public_key == public_key and one.name != name), None)
            if other is not None:
                raise RegistryError(
                    f'The key of "{name}" is that of "{other.name}": one person would count as two.',
                    hint=f"Make another: featurestore identity create {name}",
                )
            at = _after(known)
            row = {"public_key": public_key, "added_at": at, "added_by": who, "revoked_at": None}
            if before is None:
                connection.execute(insert(schema.identities).values(name=name, **row))
            else:
                connection.execute(update(schema.identities).filter_by(name=name).values(**row))
            details = {"change": "add", "public_key": public_key}
            event = Event(action="identity", object=name, details=details)
            audit.append(connection, self.project, who, at, [event])
            return _identity(_find(connection, name))

    def revoke_identity(self, name: str, *, who: str) -> Identity:
        """Take a name's standing away: it proves nothing from now on. What it did stays as it is.

        Raises:
            ObjectNotFoundError: there is no such identity.
            RegistryError: it was revoked before, it is the last one, or ``who`` is not verified.
        """
        with self._write() as connection:
            _lock(connection)
            row = _find(connection, name)
            if row.revoked_at is not None:
                raise RegistryError(f'The identity "{name}" was revoked on {values.instant(row.revoked_at):%Y-%m-%d}.')
            known = connection.execute(select(schema.identities)).all()
            _check_actor(known, who, f'"{name}" cannot be revoked')
            if all(one.revoked_at is not None for one in known if one.name != name):
                raise RegistryError(
                    f'"{name}" is the last identity: without it nobody could add another.',
                    hint="Add the one that is to follow first: featurestore identity add NAME PUBLIC_KEY",
                )
            at = _after(known)
            connection.execute(update(schema.identities).filter_by(name=name).values(revoked_at=at))
            event = Event(action="identity", object=name, details={"change": "revoke", "public_key": row.public_key})
            audit.append(connection, self.project, who, at, [event])
            return _identity(_find(connection, name))

    def identities(self) -> list[Identity]:
        """Return every identity by name, those that were revoked too."""
        with self._database.read() as connection:
            rows = connection.execute(select(schema.identities))
            return [_identity(row) for row in sorted(rows, key=lambda row: row.name)]

    def identify(self, name: str, key: signing.PrivateKey) -> str:
        """Return a name, once its holder has proved with the private key that it is theirs.

        Raises:
            ObjectNotFoundError: there is no such identity.
            RegistryError: it was revoked, or the key is another's.
        """
        with self._database.read() as connection:
            row = _row(connection, check_identity_name(name))
        if row is None:
            raise ObjectNotFoundError(
                f'The identity "{name}" is not known to this registry.',
                hint=f"Have somebody who is add it: featurestore identity add {name} {key.public}",
            )
        if row.revoked_at is not None:
            raise RegistryError(
                f'The identity "{name}" was revoked on {values.instant(row.revoked_at):%Y-%m-%d}.',
                hint="Act without FEATURESTORE_IDENTITY, or ask for a new key to be added.",
            )
        challenge = b"featurestore identity " + name.encode() + os.urandom(32)
        if not signing.signed_by(row.public_key, challenge, key.sign(challenge)):
            raise RegistryError(
                f'The key is not that of "{name}": its fingerprint is {signing.fingerprint(key.public)}, '
                f"and {signing.fingerprint(row.public_key)} is registered.",
                hint="Name the right key in FEATURESTORE_IDENTITY_KEY.",
            )
        return name

    def founder(self) -> str | None:
        """Return who may add the first identity: the operating system's user; None once there is one."""
        with self._database.read() as connection:
            taken = connection.execute(select(schema.identities.c.name).limit(1)).first()
        return current_user() if taken is None else None


def registered_keys(connection: Connection) -> Mapping[str, str | None]:
    """Return the public key of each identity, None if it was revoked."""
    found = connection.execute(select(schema.identities))
    return {row.name: row.public_key if row.revoked_at is None else None for row in found}


def _lock(connection: Connection) -> None:
    """Keep other projects' writers out: the table is everybody's, and each project's lock only its own."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE identities IN SHARE ROW EXCLUSIVE MODE"))


def _after(known: Sequence[Row[Any]]) -> int:
    """Return the clock, or an instant later than every change before.

    Identities are changed from several projects, each with a log of its own, and put in order by their instants: with
    two hosts whose clocks differ, what was done last must not look as if it had been undone.
    """
    before = [at for one in known for at in (one.added_at, one.revoked_at) if at is not None]
    return max(values.now(), max(before, default=0) + 1)


def _check_actor(known: Sequence[Row[Any]], who: str, what: str) -> None:
    standing = {one.name for one in known if one.revoked_at is None}
    if not (is_verified(who) and who in standing):
        raise RegistryError(
            f"{what}: {who} is not verified, and only an identity that is may do that.",
            hint="Act as one: export FEATURESTORE_IDENTITY=NAME (and FEATURESTORE_IDENTITY_KEY=FILE).",
        )


def _find(connection: Connection, name: str) -> Row[Any]:
    row = _row(connection, name)
    if row is None:
        names = connection.execute(select(schema.identities.c.name)).scalars()
        raise ObjectNotFoundError(
            f'There is no identity "{name}".',
            hint=closest(name, names) or "Add one: featurestore identity add NAME PUBLIC_KEY",
        )
    return row


def _row(connection: Connection, name: str) -> Row[Any] | None:
    return connection.execute(select(schema.identities).filter_by(name=name)).first()


def _identity(row: Row[Any]) -> Identity:
    return Identity(
        name=row.name,
        public_key=row.public_key,
        added_at=values.instant(row.added_at),
        added_by=row.added_by,
        revoked_at=None if row.revoked_at is None else values.instant(row.revoked_at),
    )
