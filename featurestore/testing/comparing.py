"""Is what came what was expected?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One value that is not as expected.

    Attributes:
        path: how it was asked for: ``offline``, ``online``, or ``rows`` of a view.
        row: which row, as a person finds it.
        feature: the feature, or ``row`` where a whole row is missing or was not expected.
        expected: what the case says.
        got: what came.
    """

    path: str
    row: str
    feature: str
    expected: str
    got: str


def same(expected: Any, got: Any, tolerance: float) -> bool:
    """Return whether a value is as expected: floats within the tolerance, null only null, and NaN only NaN."""
    if expected is None or got is None:
        return expected is got
    if isinstance(got, Decimal) or isinstance(expected, Decimal):
        try:
            return not isinstance(expected, bool) and Decimal(str(expected)) == Decimal(str(got))
        except InvalidOperation:  # one of them is no number
            return False
    if isinstance(got, datetime):
        return bool(instant(expected) == got)
    if isinstance(got, date) and isinstance(expected, str):
        return expected == got.isoformat()
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        return expected.keys() == got.keys() and all(same(expected[name], got[name], tolerance) for name in expected)
    if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)):
        pairs = zip(expected, got, strict=False)
        return len(expected) == len(got) and all(same(*pair, tolerance) for pair in pairs)
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(got, float) and isinstance(expected, (int, float)):
        if math.isnan(got) or math.isnan(expected):
            return math.isnan(got) and math.isnan(expected)
        return math.isclose(expected, got, rel_tol=tolerance, abs_tol=tolerance)
    return bool(expected == got)


def instant(value: Any) -> Any:
    """Return text that is an instant as one; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def shown(value: Any) -> str:
    """Return a value as a person reads it."""
    if value is None:
        return "null"
    if isinstance(value, datetime):
        return value.isoformat()
    return repr(value) if isinstance(value, str) else str(value)


def compare_rows(
    path: str,
    labels: Sequence[str],
    expected: Sequence[Mapping[str, Any]],
    got: Sequence[Mapping[str, Any]],
    tolerance: float,
) -> list[Mismatch]:
    """Return where rows differ from those that were expected in their places; only named features count.

    What a path does not say at all (a response has no status of a view that it only computes with) is no difference.
    """
    return [
        Mismatch(path=path, row=label, feature=name, expected=shown(value), got=shown(row[name]))
        for label, wanted, row in zip(labels, expected, got, strict=True)
        for name, value in wanted.items()
        if name in row and not same(value, row[name], tolerance)
    ]
