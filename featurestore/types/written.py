"""Values as people and other programs write them: texts of the command line, and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

from featurestore import types
from featurestore.errors import InvalidRequestError


def parsed(value: str, dtype: types.DType, name: str) -> Any:
    """Return a value of a type that was written as a text: instants in ISO 8601, bytes in hexadecimal digits.

    Raises:
        InvalidRequestError: it is none.
        TimestampError: an instant names no time zone.
    """
    if dtype is types.Timestamp:
        return types.utc(value, name)
    readers: dict[str, Callable[[str], Any]] = {
        "Bool": {"true": True, "false": False}.__getitem__,
        "Int32": int,
        "Int64": int,
        "Float32": float,
        "Float64": float,
        "Decimal": lambda text: types.exact_decimal(text, dtype),
        "Date": date.fromisoformat,
        "Bytes": bytes.fromhex,
    }
    try:
        if dtype.scalar:
            return readers.get(dtype.kind, str)(value)
        # Numbers stay the texts that they are: 1.10 is a Decimal's too.
        return member(json.loads(value, parse_int=str, parse_float=str, parse_constant=str), dtype, name)
    except (ValueError, KeyError, TypeError):
        hint = "" if dtype.scalar else """Write it as JSON: '[1, null]', '{"a": 1}'."""
        raise InvalidRequestError(f'{name}="{value}" is not {dtype}.', hint=hint) from None


def member(value: Any, dtype: types.DType, name: str) -> Any:
    """Return a value that was read as JSON, its scalars read as those of the command line are."""
    if value is None:
        return None
    if dtype.fields and isinstance(value, dict):
        inner = dict(dtype.fields)
        return {key: member(one, inner[key], name) for key, one in value.items()}
    if dtype.element is not None and isinstance(value, list):
        return [member(one, dtype.element, name) for one in value]
    if not dtype.scalar or isinstance(value, (dict, list)):
        raise TypeError
    return parsed(str(value).lower() if isinstance(value, bool) else value, dtype, name)
