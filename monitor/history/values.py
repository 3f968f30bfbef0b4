"""What the monitor's database keeps, as values; and how instants and profiles stand in it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from monitor.windows import Position

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is watched: a stream of rows, or a slice of one, by a version of a policy.

    Attributes:
        policy: its name.
        policy_version: its version.
        service: the stream: a service version, or what a policy with a source of its own watches.
        slice: "" for all rows; ``carrier=AA`` for some.
    """

    policy: str
    policy_version: int
    service: str
    slice: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a stream has been judged.

    Attributes:
        baseline: the reference that it is compared with; "" where there is none yet.
        position: where the first window begins that is still to come; None before the first one.
    """

    baseline: str
    position: Position | None


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Where a detector stands.

    Attributes:
        baseline: the reference that its limits come from.
        state: the detector's own state, as JSON values.
    """

    baseline: str
    state: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class JudgedWindow:
    """One line of the ledger.

    Attributes:
        begin: where the window begins.
        stop: where the next one begins.
        end: the first instant after its last row, or after its length.
        baseline: the reference it was compared with.
        rows: how many there were.
        profile: the profile as Arrow, over the baseline's bins.
        verdict: see :mod:`monitor.decisions`; the worst of all rules.
        decision: what the rules found, as JSON values.
        late_rows: rows that came after it was judged.
    """

    begin: Position
    stop: Position
    end: datetime
    baseline: str
    rows: int
    profile: pa.Table
    verdict: str
    decision: Mapping[str, Any]
    late_rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Span:
    """Windows of the ledger together.

    Attributes:
        first: start of the first.
        last: end of the last.
        count: how many there are.
        rows: that they had.
    """

    first: datetime
    last: datetime
    count: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a check of facts found.

    Attributes:
        subject: which check: ``quality``, ``skew``, ``performance of churn@3``.
        at: up to which instant it looked.
        verdict: the worst of its findings.
        findings: as JSON values.
    """

    subject: str
    at: datetime
    verdict: str
    findings: Sequence[Mapping[str, Any]]


def instant(value: int | None) -> datetime | None:
    """Return the instant of microseconds since 1970, UTC."""
    return None if value is None else EPOCH + timedelta(microseconds=value)


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def from_bytes(blob: bytes) -> pa.Table:
    """Return the table of a Parquet file."""
    return pq.read_table(io.BytesIO(blob))
