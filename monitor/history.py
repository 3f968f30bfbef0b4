"""The monitor's memory: which windows it has judged, where each detector stands, what is wrong, what it has said.

One window's profile, verdict, detector state, incident and messages are written in one transaction, so that a monitor
that dies at any moment goes on where it was: nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import ColumnElement, Connection, and_, func, insert, inspect, select
from sqlalchemy.dialects.sqlite import insert as upsert

from featurestore.database import Database
from featurestore.errors import MonitorError
from featurestore.types import microseconds
from monitor import schema
from monitor.alerts.states import Incident, State

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What one detector watches: a service version, by a version of a policy."""

    policy: str
    policy_version: int
    service: str


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Where a detector stands.

    Attributes:
        baseline: the dataset that its limits come from; "" where the service version has none yet.
        state: the detector's own state, as JSON values.
        next_start: start of the first window that is still to come; None before the first one.
    """

    baseline: str
    state: Mapping[str, Any]
    next_start: datetime | None


@dataclass(frozen=True, kw_only=True)
class JudgedWindow:
    """One line of the ledger.

    Attributes:
        start: first instant of the window.
        end: first instant after it.
        baseline: the dataset it was compared with.
        rows: how many were served.
        profile: the profile as Arrow, over the baseline's bins.
        verdict: see :mod:`monitor.decisions`.
        decision: evidence and findings, as JSON values.
    """

    start: datetime
    end: datetime
    baseline: str
    rows: int
    profile: pa.Table
    verdict: str
    decision: Mapping[str, Any]


class History:
    """The monitor's database, opened; close it, or use it as a context manager.

    Args:
        url: ``sqlite:///`` and an absolute path.

    Raises:
        MonitorError: the URL is none of SQLite, the file cannot be opened, or a newer release has changed its tables.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, what="monitor's database", error=MonitorError, hint=_HINT)
        if self._database.path is None:  # upserts are written for SQLite
            raise MonitorError(f"The monitor's database cannot be kept in {self._database.dialect} yet.", hint=_HINT)
        self.path = self._database.path
        with self._database.errors():
            self.instance = self._open()

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
        """Open a transaction that writes: all of it is kept, or nothing if an error leaves the block."""
        with self._database.write() as connection:
            yield connection

    def _open(self) -> str:
        # The tables are read before anything is written: most openings find them there.
        with self.read() as connection:
            known = inspect(connection).has_table("meta")
        if not known:
            self._database.enable_write_ahead_log()
            with self.write() as connection:
                schema.metadata.create_all(connection)
                facts = {"schema_version": str(schema.VERSION), "instance": uuid.uuid4().hex}
                for key, value in facts.items():
                    connection.execute(upsert(schema.meta).values(key=key, value=value).on_conflict_do_nothing())
        with self.read() as connection:
            stored = {row.key: row.value for row in connection.execute(select(schema.meta))}
        if int(stored["schema_version"]) > schema.VERSION:
            raise MonitorError(
                f"The monitor's database {self.path} was made by a newer release.",
                hint="Upgrade the featurestore package here.",
            )
        return str(stored["instance"])

    def detector(self, connection: Connection, watch: Watch) -> Detector | None:
        """Return where a detector stands; None if it has never run."""
        row = connection.execute(select(schema.detectors).where(_is(schema.detectors, watch))).one_or_none()
        if row is None:
            return None
        return Detector(baseline=row.baseline, state=json.loads(row.state), next_start=instant(row.next_start))

    def save_detector(self, connection: Connection, watch: Watch, detector: Detector) -> None:
        """Keep where a detector stands."""
        values = {
            "baseline": detector.baseline,
            "state": json.dumps(detector.state),
            "next_start": None if detector.next_start is None else microseconds(detector.next_start),
        }
        connection.execute(
            upsert(schema.detectors)
            .values(**vars(watch), **values)
            .on_conflict_do_update(index_elements=["policy", "policy_version", "service"], set_=values)
        )

    def resume_from(self, connection: Connection, watch: Watch) -> datetime | None:
        """Return where any version of the policy left off: a new version does not judge the past anew."""
        table = schema.detectors
        newest = connection.execute(
            select(func.max(table.c.next_start)).where(table.c.policy == watch.policy, table.c.service == watch.service)
        ).scalar()
        return instant(newest)

    def record(self, connection: Connection, watch: Watch, window: JudgedWindow, *, now: datetime) -> None:
        """Write a line of the ledger.

        Raises:
            MonitorError: (when the transaction's block is left) the window has been judged before.
        """
        connection.execute(
            insert(schema.windows).values(
                **vars(watch),
                window_start=microseconds(window.start),
                window_end=microseconds(window.end),
                baseline=window.baseline,
                rows=window.rows,
                profile=_to_bytes(window.profile),
                verdict=window.verdict,
                decision=json.dumps(window.decision),
                decided_at=microseconds(now),
            )
        )

    def profiles(
        self,
        connection: Connection,
        watch: Watch,
        baseline: str,
        *,
        since: datetime | None = None,
        last: int | None = None,
    ) -> list[pa.Table]:
        """Return the profiles of judged windows over one baseline's bins, the newest first.

        Args:
            connection: a transaction.
            watch: whose windows.
            baseline: profiles over other bins cannot be merged with these.
            since: none that starts before.
            last: at most so many, the newest.
        """
        table = schema.windows
        query = select(table.c.profile).where(_is(table, watch), table.c.baseline == baseline)
        if since is not None:
            query = query.where(table.c.window_start >= microseconds(since))
        query = query.order_by(table.c.window_start.desc())
        if last is not None:
            query = query.limit(last)
        return [pq.read_table(io.BytesIO(blob)) for blob in connection.execute(query).scalars()]

    def rows_since(self, connection: Connection, watch: Watch, since: datetime) -> int:
        """Return how many rows the windows had that start at ``since`` or later."""
        table = schema.windows
        query = select(func.coalesce(func.sum(table.c.rows), 0)).where(
            _is(table, watch), table.c.window_start >= microseconds(since)
        )
        return int(connection.execute(query).scalar_one())

    def first_start(self, connection: Connection, watch: Watch) -> datetime | None:
        """Return the start of the first window that was judged."""
        query = select(func.min(schema.windows.c.window_start)).where(_is(schema.windows, watch))
        return instant(connection.execute(query).scalar())

    def incident(self, connection: Connection, key: str) -> Incident:
        """Return an incident; one that never was is ok."""
        row = connection.execute(select(schema.incidents).where(schema.incidents.c.key == key)).one_or_none()
        if row is None:
            return Incident(key=key)
        return Incident(
            key=key,
            state=State(row.state),
            episode=row.episode,
            onset=instant(row.onset),
            span=row.span,
            quiet=row.quiet,
        )

    def save_incident(self, connection: Connection, watch: Watch, incident: Incident) -> None:
        """Keep an incident."""
        values = {
            "state": str(incident.state),
            "episode": incident.episode,
            "onset": None if incident.onset is None else microseconds(incident.onset),
            "span": incident.span,
            "quiet": incident.quiet,
        }
        connection.execute(
            upsert(schema.incidents)
            .values(key=incident.key, policy=watch.policy, service=watch.service, **values)
            .on_conflict_do_update(index_elements=["key"], set_=values)
        )

    def record_signal(self, connection: Connection, watch: Watch, payload: Mapping[str, Any], *, now: datetime) -> bool:
        """Write a retraining signal (its JSON form); return False if one of its id was written before."""
        result = connection.execute(
            upsert(schema.signals)
            .values(
                id=payload["id"],
                policy=watch.policy,
                service=watch.service,
                baseline=payload["baseline"],
                incident=payload["incident"],
                payload=json.dumps(payload),
                created_at=microseconds(now),
            )
            .on_conflict_do_nothing()
        )
        return result.rowcount == 1

    def beat(self, *, host: str, pid: int, started_at: datetime, now: datetime) -> None:
        """Say that the daemon lives."""
        values = {
            "host": host,
            "pid": pid,
            "started_at": microseconds(started_at),
            "beat_at": microseconds(now),
        }
        with self.write() as connection:
            connection.execute(
                upsert(schema.heartbeats)
                .values(id=1, **values)
                .on_conflict_do_update(index_elements=["id"], set_=values)
            )


def instant(value: int | None) -> datetime | None:
    """Return the instant of microseconds since 1970, UTC."""
    return None if value is None else _EPOCH + timedelta(microseconds=value)


_HINT = 'Write database = "sqlite:///data/monitor.db" under [monitor] in featurestore.toml.'


def _is(table: Any, watch: Watch) -> ColumnElement[bool]:
    return and_(
        table.c.policy == watch.policy,
        table.c.policy_version == watch.policy_version,
        table.c.service == watch.service,
    )


def _to_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
