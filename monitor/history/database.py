"""The monitor's memory: which windows it has judged, where each detector stands, what is wrong, what it has said.

One window's profile, verdict, detector state, alert and messages are written in one transaction, so that a monitor
that dies at any moment goes on where it was: nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, inspect, select

from featurestore import __version__
from featurestore.database import Database
from featurestore.errors import MonitorError
from featurestore.notices import Listener, listen, notify
from featurestore.types import microseconds
from monitor import schema
from monitor.history.alerts import Alerts
from monitor.history.checks import Checks
from monitor.history.conditions import in_stream, is_watch
from monitor.history.incidents import Incidents
from monitor.history.ledger import Ledger
from monitor.history.people import People
from monitor.history.turns import take_turn
from monitor.history.upserting import add, put
from monitor.history.values import Detector, Standing, Watch, instant
from monitor.migrating import facts, found_tables, migrate
from monitor.windows import Position

_HINT = (
    'Write database = "sqlite:///data/monitor.db" under [monitor] in featurestore.toml, or a postgresql+psycopg URL.'
)


#: On which the monitor that works hears that somebody has asked for something.
_CHANNEL = "featurestore_monitor"

#: The row of the database's own facts that says how late it is in the data.
_DATA_CLOCK = "data_clock"


class History(Ledger, Alerts, Incidents, People, Checks):
    """The monitor's database, opened; close it, or use it as a context manager.

    Args:
        url: ``sqlite:///`` and an absolute path, or ``postgresql+psycopg://...``.
        upgrade: whether to bring an older one up to date also where it is on a server.

    Attributes:
        name: the URL without its password.
        path: the file; None on PostgreSQL.
        instance: the database's random name.
        fence: what every writing transaction begins with: it raises when this process may not write any more. Set by
            :mod:`monitor.leading` for the monitor that works; other writers, such as commands, have none.

    Raises:
        MonitorError: the URL is not one, the database cannot be opened, a newer release has changed its tables, or it
            is on a server and older.
    """

    def __init__(self, url: str, *, upgrade: bool = False) -> None:
        self._database = Database(url, what="monitor's database", error=MonitorError, hint=_HINT)
        self.name = self._database.name
        self.path = self._database.path
        self.fence: Callable[[Connection], None] | None = None
        self.instance = ""
        try:
            with self._database.errors():
                self.instance = self._open(upgrade)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def forget(self) -> None:
        """Leave no byte of what was removed or written over in the database's files."""
        self._database.forget()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one snapshot."""
        with self._database.read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes: all of it is kept, or nothing if an error leaves the block.

        Nobody else writes meanwhile.

        Raises:
            LeadershipLostError: this process is fenced, and another monitor has taken over.
        """
        with self._database.write() as connection:
            # The fence first: whoever keeps others waiting for their turn can then be told by it, and ended.
            if self.fence is not None:
                self.fence(connection)
            take_turn(connection)
            yield connection
            if self.fence is None:
                notify(connection, _CHANNEL, self.instance)

    def follow(self, changed: Callable[[], None]) -> Listener | None:
        """Hear of what others than the monitor that works have written, until the listener is closed; None on SQLite.

        Args:
            changed: called in a thread of its own, now and then without need.
        """
        return listen(self._database, _CHANNEL, self.instance, changed)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that writes beside the others, whatever they do: for the lease alone."""
        with self._database.write() as connection:
            yield connection

    def _open(self, upgrade: bool) -> str:
        # The tables are read before anything is written: most openings find them there.
        with self.read() as connection:
            known = inspect(connection).has_table("meta")
        if not known:
            self._database.enable_write_ahead_log()
            # The transaction is the lock: a second process waits here, then finds the tables there.
            with self.write() as connection:
                if not inspect(connection).has_table("meta"):
                    schema.metadata.create_all(connection, checkfirst=False)  # none is there, so none is asked for
                    for key, value in (facts() | {"instance": uuid.uuid4().hex}).items():
                        add(connection, schema.meta, {"key": key, "value": value})
        with self.read() as connection:
            found = found_tables(connection)
        if not found.is_readable:
            raise found.refusal(self.name)
        if found.version < schema.VERSION:
            if self.path is None and not upgrade:
                raise MonitorError(
                    f"The monitor's database {self.name} has format {found.version}, of an older release; this one, "
                    f"{__version__}, needs {schema.VERSION}.",
                    hint="Bring it up to date first: featurestore upgrade, when every server is of this release.",
                )
            # Two processes may come here at once: the second one finds nothing left to do.
            with self.write() as connection:
                migrate(connection)
        with self.read() as connection:
            named = select(schema.meta.c.value).where(schema.meta.c.key == "instance")
            return str(connection.execute(named).scalar_one())

    def standing(self, connection: Connection, watch: Watch) -> Standing | None:
        """Return how far a policy's version has come in a stream; None if it has never looked at it."""
        row = connection.execute(select(schema.streams).where(in_stream(schema.streams, watch))).one_or_none()
        return None if row is None else Standing(baseline=row.baseline, position=_position(row))

    def save_standing(self, connection: Connection, watch: Watch, standing: Standing) -> None:
        """Keep how far a stream has been judged."""
        position = standing.position
        values = {
            "baseline": standing.baseline,
            "next_start": None if position is None else microseconds(position.instant),
            "next_offset": 0 if position is None else position.offset,
        }
        keys = {"policy": watch.policy, "policy_version": watch.policy_version, "service": watch.service}
        put(connection, schema.streams, keys, values)

    def resume_from(self, connection: Connection, watch: Watch) -> Position | None:
        """Return where any version of the policy left off: a new version does not judge the past anew."""
        table = schema.streams
        query = select(table).where(table.c.policy == watch.policy, table.c.service == watch.service)
        found = [_position(row) for row in connection.execute(query)]
        return max((one for one in found if one is not None), default=None)

    def detector(self, connection: Connection, watch: Watch, subject: str) -> Detector | None:
        """Return where one of a watch's detectors stands; None if it has never run."""
        table = schema.detectors
        query = select(table).where(is_watch(table, watch), table.c.subject == subject)
        row = connection.execute(query).one_or_none()
        return None if row is None else Detector(baseline=row.baseline, state=json.loads(row.state))

    def save_detector(self, connection: Connection, watch: Watch, subject: str, detector: Detector) -> None:
        """Keep where a detector stands."""
        values = {"baseline": detector.baseline, "state": json.dumps(detector.state)}
        put(connection, schema.detectors, {**vars(watch), "subject": subject}, values)

    def drop_detector(self, connection: Connection, watch: Watch, subject: str) -> None:
        """Let a detector begin anew, for any version of the policy: what it has learned was of another normal."""
        table = schema.detectors
        mine = (table.c.policy == watch.policy, table.c.service == watch.service, table.c.slice == watch.slice)
        connection.execute(delete(table).where(*mine, table.c.subject == subject))

    def data_clock(self, connection: Connection) -> datetime | None:
        """Return how late it is in the data of a rehearsal: the end of the last window that was judged."""
        query = select(schema.meta.c.value).where(schema.meta.c.key == _DATA_CLOCK)
        value = connection.execute(query).scalar()
        return None if value is None else instant(int(value))

    def advance_data_clock(self, connection: Connection, at: datetime) -> None:
        """Keep how late it is in the data of a rehearsal; it never goes back."""
        before = self.data_clock(connection)
        if before is None or before < at:
            put(connection, schema.meta, {"key": _DATA_CLOCK}, {"value": str(microseconds(at))})

    def beat(self, *, host: str, pid: int, started_at: datetime, now: datetime) -> None:
        """Say that the daemon lives."""
        values = {
            "host": host,
            "pid": pid,
            "started_at": microseconds(started_at),
            "beat_at": microseconds(now),
        }
        with self.write() as connection:
            put(connection, schema.heartbeats, {"id": 1}, values)


def _position(row: Any) -> Position | None:
    start = instant(row.next_start)
    return None if start is None else Position(start, row.next_offset)
