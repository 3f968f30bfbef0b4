"""Conditions on the tables of the monitor's database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from featurestore.types import microseconds
from monitor import schema
from monitor.history.values import Watch
from monitor.windows import Position


def in_stream(table: Any, watch: Watch) -> ColumnElement[bool]:
    """Return what is true for rows of a policy's version and a stream, of any slice."""
    return and_(
        table.c.policy == watch.policy,
        table.c.policy_version == watch.policy_version,
        table.c.service == watch.service,
    )


def is_watch(table: Any, watch: Watch) -> ColumnElement[bool]:
    """Return what is true for rows of a watch."""
    return and_(in_stream(table, watch), table.c.slice == watch.slice)


def begins_before(position: Position) -> ColumnElement[bool]:
    """Return what is true for windows that begin before a position."""
    table, start = schema.windows.c, microseconds(position.instant)
    earlier = and_(table.window_start == start, table.window_offset < position.offset)
    return or_(table.window_start < start, earlier)
