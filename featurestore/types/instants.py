"""Instants: with a zone, in UTC, to the microsecond."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from featurestore.errors import TimestampError

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def utc(value: Any, what: str) -> datetime:
    """Return an aware datetime in UTC from a datetime or an ISO 8601 text.

    Args:
        value: a :class:`datetime.datetime` with a zone, or a text such as ``2013-01-01T07:00:00Z``. A text that is a
            date, ``2013-01-01``, is its midnight in UTC, as it is in the files that are read.
        what: the name of the thing that holds the value, for the message.

    Raises:
        TimestampError: the value is not an instant, or names no zone.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(f"{value}T00:00:00Z" if _DATE.fullmatch(value) else value)
        except ValueError:
            raise TimestampError(
                f'{what} is "{value}", which is not a timestamp.', hint="Write it as 2013-01-01T07:00:00Z."
            ) from None
    if not isinstance(value, datetime):
        raise TimestampError(f"{what} is {value!r}, not a timestamp.", hint="Pass an aware datetime.")
    if value.tzinfo is None:
        raise TimestampError(
            f"{what} is {value.isoformat()}, which names no time zone.",
            hint=f"For UTC: {value.isoformat()}Z as text, or datetime(..., tzinfo=UTC) in Python.",
        )
    return value.astimezone(UTC)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(instant: datetime) -> int:
    """Return microseconds since 1970-01-01T00:00:00Z, exactly.

    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC))
    1000001
    """
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
