"""Erasures: whom a load may not bring back, which files were written anew, and the receipts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select

from featurestore.definitions import Definition
from featurestore.registry import schema, values
from featurestore.registry.audit import Event
from featurestore.registry.project import Project
from featurestore.registry.records import Registered
from featurestore.registry.versions import Versions, chunks


@dataclass(frozen=True, kw_only=True)
class RewrittenFile:
    """A file of a table that an erasure has written anew.

    Attributes:
        replaced_by: the name of the file that has the other rows; None if there are none.
        rows_erased: how many rows it has less.
        request: of whom the erasure was.
    """

    replaced_by: str | None
    rows_erased: int
    request: str


class Erasures(Project):
    """What erasures leave behind in one project. No key is here: suppressed ones are keyed hashes."""

    def suppress(self, members: str, digests: Collection[str], *, request: str, who: str) -> int:
        """Keep the rows of some keys out of every load from now on; return how many keys are new here.

        Args:
            members: of what they are keys: ``user(user_id)``.
            digests: keyed hashes.
            request: whose wish it is.
            who: who enters them.
        """
        with self._write() as connection:
            table = schema.suppressions
            known = set(connection.scalars(select(table.c.digest).filter_by(project=self.project, join_keys=members)))
            new = sorted(set(digests) - known)
            about: dict[str, Any] = {"project": self.project, "join_keys": members, "request": request}
            about |= {"erased_at": values.now(), "erased_by": who}
            if new:
                connection.execute(insert(table), [about | {"digest": one} for one in new])
                details = {"change": "suppress", "request": request, "keys": len(new)}
                self._audit(connection, who, Event(action="erase", object=members, details=details))
            return len(new)

    def lift(self, members: str, digests: Collection[str], *, request: str, who: str) -> int:
        """Let loads bring the rows of some keys again; return how many of them were suppressed."""
        with self._write() as connection:
            table, lifted = schema.suppressions, 0
            for chunk in chunks(sorted(digests)):
                mine = table.c.digest.in_(chunk)
                found = connection.execute(delete(table).filter_by(project=self.project, join_keys=members).where(mine))
                lifted += found.rowcount
            if lifted:
                details = {"change": "lift", "request": request, "keys": lifted}
                self._audit(connection, who, Event(action="erase", object=members, details=details))
            return lifted

    def suppressions(self, members: Collection[str]) -> dict[str, frozenset[str]]:
        """Return the suppressed keys' digests of each of these; only of those that have some."""
        table = schema.suppressions
        query = select(table.c.join_keys, table.c.digest).filter_by(project=self.project)
        found: dict[str, set[str]] = {}
        with self._database.read() as connection:
            for name, digest in connection.execute(query.where(table.c.join_keys.in_(list(members)))):
                found.setdefault(name, set()).add(digest)
        return {name: frozenset(digests) for name, digests in found.items()}

    def every_suppression(self) -> list[tuple[str, str, str]]:
        """Return of every suppressed key of what it is one, its digest, and the request."""
        table = schema.suppressions
        with self._database.read() as connection:
            rows = connection.execute(select(table).filter_by(project=self.project))
            return [(row.join_keys, row.digest, row.request) for row in rows]

    def every_version(self, kind: str) -> list[Registered[Definition]]:
        """Return every version of each object of a kind, of those that were removed too, by name and number."""
        objects = schema.objects
        with self._database.read() as connection:
            names = connection.scalars(select(objects.c.name).filter_by(project=self.project, kind=kind))
            versions = Versions(connection, self.project)
            return [versions.registered(one) for name in sorted(names) for one in versions.of(name)]

    def record_rewritten(self, storage_id: str, files: Mapping[str, RewrittenFile]) -> None:
        """Enter under which names the rows of files are read from now on; what was said of a file is replaced."""
        table = schema.rewritten_files
        with self._write() as connection:
            for name, new in files.items():
                mine = {"project": self.project, "storage_id": storage_id, "file": name}
                connection.execute(delete(table).filter_by(**mine))
                connection.execute(insert(table).values(**mine, **vars(new)))

    def rewritten_files(self, storage_id: str) -> dict[str, RewrittenFile]:
        """Return what became of the files of a table that erasures wrote anew, by name.

        A file that replaces one may have been written anew in its turn; see :func:`present_name`. The table may be
        another project's.
        """
        query = select(schema.rewritten_files).filter_by(storage_id=storage_id)
        with self._database.read() as connection:
            return {
                row.file: RewrittenFile(replaced_by=row.replaced_by, rows_erased=row.rows_erased, request=row.request)
                for row in connection.execute(query)
            }

    def record_erasure(self, members: str, details: Mapping[str, Any], *, who: str) -> None:
        """Enter the receipt of an erasure in the audit log; no key may be in it."""
        with self._write() as connection:
            self._audit(connection, who, Event(action="erase", object=members, details={"change": "erase", **details}))


def present_name(name: str, rewritten: Mapping[str, RewrittenFile]) -> tuple[str | None, tuple[RewrittenFile, ...]]:
    """Return under which name a file is read now, None if no row of it is left, and the erasures that lie between.

    Args:
        name: the file's, as a manifest or an old snapshot has it.
        rewritten: see :meth:`Erasures.rewritten_files`.
    """
    steps: list[RewrittenFile] = []
    current: str | None = name
    while current is not None and current in rewritten:
        steps.append(rewritten[current])
        current = rewritten[current].replaced_by
    return current, tuple(steps)


def present_names(names: Iterable[str], rewritten: Mapping[str, RewrittenFile]) -> set[str]:
    """Return under which names files are read now; those of which no row is left are left out."""
    found = (present_name(name, rewritten)[0] for name in names)
    return {name for name in found if name is not None}
