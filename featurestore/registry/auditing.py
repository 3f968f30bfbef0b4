"""The audit log as its readers use it, and as another part enters what it did."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from featurestore.errors import RegistryError, closest
from featurestore.registry import audit, heads, verifying
from featurestore.registry.audit import ACTIONS, Event
from featurestore.registry.heads import FoundHead, Head
from featurestore.registry.project import Project
from featurestore.registry.records import AuditEntry
from featurestore.registry.signing import PrivateKey
from featurestore.registry.verifying import AuditReport


class Auditing(Project):
    """The audit log of one project."""

    def record(self, action: str, object: str, details: Mapping[str, Any], *, who: str) -> None:  # noqa: A002 - the entry's own word
        """Enter what was done elsewhere: what the monitor keeps in a database of its own, for one.

        Args:
            action: one of :data:`featurestore.registry.audit.ACTIONS`.
            object: to what.
            details: how, as JSON values; ``from_...`` and ``to_...`` for what it was before and after.
            who: who did it.

        Raises:
            RegistryError: there is no such action, or the details hold something that JSON has not.
        """
        _check_action(action)
        with self._write() as connection:
            self._audit(connection, who, Event(action=action, object=object, details=details))

    def audit(
        self,
        *,
        object: str | None = None,  # noqa: A002 - the entry's own word
        action: str | None = None,
        who: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> list[AuditEntry]:
        """Return what was done, oldest first.

        Args:
            object: only what was done to it; ``weather`` also finds ``weather@2``, and what was done with its rows.
            action: only one of :data:`featurestore.registry.audit.ACTIONS`.
            who: only by this actor; ``ada`` also finds ``ada@laptop (unverified)``.
            since: only from this instant on.
            until: only before this instant.
            limit: only so many of them, the newest.

        Raises:
            RegistryError: there is no such action.
        """
        if action is not None:
            _check_action(action)
        with self._database.read() as connection:
            return audit.entries(
                connection,
                self.project,
                object=object,
                action=action,
                who=who,
                since=since,
                until=until,
                limit=limit,
            )

    def head(self, key: PrivateKey) -> Head:
        """Return the head of the log, signed."""
        with self._database.read() as connection:
            sequence, newest = audit.head(connection, self.project)
        return heads.sign(self.project, sequence, newest, key)

    def check_audit(
        self, found: Sequence[FoundHead] = (), *, known: Collection[str] = (), only_known: bool = False
    ) -> AuditReport:
        """Check the log by its own hashes and by signed heads.

        Args:
            found: heads, and where each was found.
            known: the public keys whose heads are trusted.
            only_known: whether a head by another key is a problem, and not only a warning.
        """
        with self._database.read() as connection:
            return verifying.check(connection, self.project, found, known=known, only_known=only_known)

    def verify_audit(self) -> list[str]:
        """Return a sentence for each place where the log's own hashes show tampering; none if it is intact."""
        return [problem.what for problem in self.check_audit().problems]


def _check_action(action: str) -> None:
    if action not in ACTIONS:
        raise RegistryError(f'The audit log knows no action "{action}".', hint=closest(action, ACTIONS))
