"""The ledger: each window that was judged, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, func, insert, select, update

from featurestore.types import microseconds
from monitor import schema
from monitor.history.conditions import begins_before, in_stream, is_watch
from monitor.history.values import EPOCH, JudgedWindow, Span, Watch, from_bytes, instant, to_bytes
from monitor.windows import Position


class Ledger:
    """The windows of the monitor's database; every method works in the caller's transaction."""

    def record(self, connection: Connection, watch: Watch, window: JudgedWindow, *, now: datetime) -> None:
        """Write a line of the ledger.

        Raises:
            MonitorError: (when the transaction's block is left) the window has been judged before.
        """
        connection.execute(
            insert(schema.windows).values(
                **vars(watch),
                window_start=microseconds(window.begin.instant),
                window_offset=window.begin.offset,
                window_end=microseconds(window.end),
                stop_at=microseconds(window.stop.instant),
                stop_offset=window.stop.offset,
                baseline=window.baseline,
                rows=window.rows,
                late_rows=window.late_rows,
                profile=to_bytes(window.profile),
                verdict=window.verdict,
                decision=json.dumps(window.decision),
                decided_at=microseconds(now),
            )
        )

    def ledger(
        self,
        connection: Connection,
        watch: Watch,
        *,
        baseline: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[JudgedWindow]:
        """Yield the judged windows of a watch, of any version of its policy, the oldest first; each window once.

        Args:
            connection: a transaction.
            watch: whose windows; of several versions that judged one window the newest counts.
            baseline: none that was compared with another.
            since: none that starts before.
            until: none that ends after.
        """
        table = schema.windows
        query = select(table).where(
            table.c.policy == watch.policy, table.c.service == watch.service, table.c.slice == watch.slice
        )
        if baseline is not None:
            query = query.where(table.c.baseline == baseline)
        if since is not None:
            query = query.where(table.c.window_start >= microseconds(since))
        if until is not None:
            query = query.where(table.c.window_end <= microseconds(until))
        ordered = query.order_by(table.c.window_start, table.c.window_offset, table.c.policy_version.desc())
        last: Position | None = None
        for row in connection.execute(ordered):
            window = _judged(row)
            if window.begin != last:
                yield window
            last = window.begin

    def profiles(
        self,
        connection: Connection,
        watch: Watch,
        baseline: str,
        *,
        since: datetime | None = None,
        last: int | None = None,
        before: Position | None = None,
    ) -> list[pa.Table]:
        """Return the profiles of judged windows over one baseline's bins, the newest first.

        Args:
            connection: a transaction.
            watch: whose windows.
            baseline: profiles over other bins cannot be merged with these.
            since: none that starts before.
            last: at most so many, the newest.
            before: none that begins here or later.
        """
        table = schema.windows
        query = select(table.c.profile).where(is_watch(table, watch), table.c.baseline == baseline)
        if since is not None:
            query = query.where(table.c.window_start >= microseconds(since))
        if before is not None:
            query = query.where(begins_before(before))
        query = query.order_by(table.c.window_start.desc(), table.c.window_offset.desc())
        if last is not None:
            query = query.limit(last)
        return [from_bytes(blob) for blob in connection.execute(query).scalars()]

    def newest(self, connection: Connection, watch: Watch, baseline: str, count: int) -> list[JudgedWindow]:
        """Return the newest windows that were judged against a baseline, the oldest of them first."""
        table = schema.windows
        query = (
            select(table)
            .where(is_watch(table, watch), table.c.baseline == baseline)
            .order_by(table.c.window_start.desc(), table.c.window_offset.desc())
            .limit(count)
        )
        return [_judged(row) for row in connection.execute(query)][::-1]

    def stale(
        self, connection: Connection, watch: Watch, baseline: str, *, since: datetime, until: datetime
    ) -> list[JudgedWindow]:
        """Return the judged windows that lie in an interval and were judged against another baseline, in order."""
        table = schema.windows
        query = (
            select(table)
            .where(
                is_watch(table, watch),
                table.c.baseline != baseline,
                table.c.window_start >= microseconds(since),
                table.c.window_end <= microseconds(until),
            )
            .order_by(table.c.window_start, table.c.window_offset)
        )
        return [_judged(row) for row in connection.execute(query)]

    def renew(self, connection: Connection, watch: Watch, window: JudgedWindow) -> None:
        """Keep a judged window's profile over the bins of a new baseline; what was decided of it stays."""
        table = schema.windows
        connection.execute(
            update(table)
            .where(
                is_watch(table, watch),
                table.c.window_start == microseconds(window.begin.instant),
                table.c.window_offset == window.begin.offset,
            )
            .values(profile=to_bytes(window.profile), baseline=window.baseline)
        )

    def places(self, connection: Connection, watch: Watch, *, since: datetime) -> list[tuple[Position, Position, int]]:
        """Return begin, stop and rows of the windows that a version of the policy has judged, ascending."""
        table = schema.windows
        query = (
            select(table.c.window_start, table.c.window_offset, table.c.stop_at, table.c.stop_offset, table.c.rows)
            .where(is_watch(table, watch), table.c.window_start >= microseconds(since))
            .order_by(table.c.window_start, table.c.window_offset)
        )
        return [
            (
                Position(EPOCH + timedelta(microseconds=row.window_start), row.window_offset),
                Position(EPOCH + timedelta(microseconds=row.stop_at), row.stop_offset),
                row.rows,
            )
            for row in connection.execute(query)
        ]

    def counts(self, connection: Connection, watch: Watch, *, since: datetime) -> list[tuple[datetime, int]]:
        """Return start and rows of the windows that any version of the policy has judged, ascending."""
        table = schema.windows
        query = (
            select(table.c.window_start, func.max(table.c.rows).label("rows"))
            .where(
                table.c.policy == watch.policy,
                table.c.service == watch.service,
                table.c.slice == watch.slice,
                table.c.window_start >= microseconds(since),
            )
            .group_by(table.c.window_start)
            .order_by(table.c.window_start)
        )
        return [(EPOCH + timedelta(microseconds=row.window_start), row.rows) for row in connection.execute(query)]

    def rows_since(
        self, connection: Connection, watch: Watch, since: datetime, *, before: Position | None = None
    ) -> int:
        """Return how many rows the windows had that start at ``since`` or later, and begin before a position."""
        table = schema.windows
        query = select(func.coalesce(func.sum(table.c.rows), 0)).where(
            is_watch(table, watch), table.c.window_start >= microseconds(since)
        )
        if before is not None:
            query = query.where(begins_before(before))
        return int(connection.execute(query).scalar_one())

    def first_start(self, connection: Connection, watch: Watch) -> datetime | None:
        """Return the start of the first window that was judged."""
        query = select(func.min(schema.windows.c.window_start)).where(is_watch(schema.windows, watch))
        return instant(connection.execute(query).scalar())

    def last_window(self, connection: Connection, watch: Watch) -> tuple[datetime, datetime] | None:
        """Return start and end of the newest window that any version of the policy has judged."""
        table = schema.windows
        query = (
            select(table.c.window_start, table.c.window_end)
            .where(table.c.policy == watch.policy, table.c.service == watch.service, table.c.slice == watch.slice)
            .order_by(table.c.window_start.desc(), table.c.window_offset.desc())
            .limit(1)
        )
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        start, end = (EPOCH + timedelta(microseconds=one) for one in row)
        return start, end

    def windows_between(self, connection: Connection, watch: Watch, *, since: datetime, until: datetime) -> Span | None:
        """Return the windows of any version of the policy that lie in an interval; None where none has rows there."""
        table = schema.windows
        query = select(
            func.min(table.c.window_start).label("first"),
            func.max(table.c.window_end).label("last"),
            func.count(table.c.window_start.distinct()).label("windows"),
            func.coalesce(func.sum(table.c.rows), 0).label("total"),
        ).where(
            table.c.policy == watch.policy,
            table.c.service == watch.service,
            table.c.slice == watch.slice,
            table.c.window_start >= microseconds(since),
            table.c.window_end <= microseconds(until),
        )
        row = connection.execute(query).one()
        first, last = instant(row.first), instant(row.last)
        if first is None or last is None or not row.total:
            return None
        return Span(first=first, last=last, count=row.windows, rows=int(row.total))

    def note_late_rows(self, connection: Connection, watch: Watch, begin: Position, late_rows: int) -> None:
        """Note on a line of the ledger how many rows came after the window was judged; the number only grows."""
        table = schema.windows
        connection.execute(
            update(table)
            .where(
                in_stream(table, watch),
                table.c.slice == watch.slice,
                table.c.window_start == microseconds(begin.instant),
                table.c.window_offset == begin.offset,
                table.c.late_rows < late_rows,
            )
            .values(late_rows=late_rows)
        )

    def watched(self, connection: Connection, policy: str) -> list[Watch]:
        """Return the streams and slices of which any version of a policy has judged windows; the version is 0."""
        table = schema.windows
        query = select(table.c.service, table.c.slice).where(table.c.policy == policy).distinct()
        ordered = query.order_by(table.c.service, table.c.slice)
        return [
            Watch(policy=policy, policy_version=0, service=row.service, slice=row.slice)
            for row in connection.execute(ordered)
        ]

    def served_beside(self, connection: Connection, policy: str, start: datetime, end: datetime) -> set[str]:
        """Return the streams of which a policy has judged windows that overlap an interval."""
        table = schema.windows
        query = select(table.c.service).where(
            table.c.policy == policy,
            table.c.window_start < microseconds(end),
            table.c.window_end > microseconds(start),
        )
        return set(connection.execute(query.distinct()).scalars())


def _judged(row: Any) -> JudgedWindow:
    return JudgedWindow(
        begin=Position(EPOCH + timedelta(microseconds=row.window_start), row.window_offset),
        stop=Position(EPOCH + timedelta(microseconds=row.stop_at), row.stop_offset),
        end=EPOCH + timedelta(microseconds=row.window_end),
        baseline=row.baseline,
        rows=row.rows,
        profile=from_bytes(row.profile),
        verdict=row.verdict,
        decision=json.loads(row.decision),
        late_rows=row.late_rows,
    )
