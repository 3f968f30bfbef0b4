"""One project of a registry: how its parts read, write and enter what they did in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, text, update

from featurestore.database import Database
from featurestore.notices import Listener, listen, notify
from featurestore.registry import audit, schema, values
from featurestore.registry.audit import Event

#: On which servers and monitors hear that there is a new revision.
_CHANNEL = "featurestore_registry"


class Project:
    """What definitions, rollout and ledgers of one project share; :class:`Registry` is the sum of them."""

    def __init__(self, database: Database, project: str) -> None:
        self.project = project
        self._database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def follow(self, changed: Callable[[], None]) -> Listener | None:
        """Hear of each new revision when it is there, until the listener is closed; None where one has to look.

        Args:
            changed: called in a thread of its own, now and then without need.
        """
        return listen(self._database, _CHANNEL, self.project, changed)

    def server_time(self) -> datetime | None:
        """Return how late it is for the database's server; None where there is none."""
        if self._database.dialect != "postgresql":
            return None
        with self._database.read() as connection:
            found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return found

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._database.write() as connection:
            audit.lock(connection, self.project)
            yield connection

    def _audit(self, connection: Connection, who: str, event: Event) -> None:
        audit.append(connection, self.project, who, values.now(), [event])

    def _revise(self, connection: Connection) -> None:
        """Tell servers that something they answer from has changed."""
        projects = schema.projects
        connection.execute(update(projects).filter_by(project=self.project).values(revision=projects.c.revision + 1))
        notify(connection, _CHANNEL, self.project)
