"""Values as the tables hold them: instants as integers, structures as JSON text, references as ``name@version``."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from featurestore.errors import ObjectNotFoundError, RegistryError
from featurestore.types import microseconds

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REFERENCE = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(?:@([1-9][0-9]{0,8}))?")


def now() -> int:
    """Return the clock: microseconds since 1970, UTC."""
    return microseconds(datetime.now(UTC))


def instant(stored: int) -> datetime:
    """Return the instant that a table's integer stands for."""
    return _EPOCH + timedelta(microseconds=stored)


def to_json(value: Any, what: str) -> str:
    """Return JSON text.

    Args:
        value: JSON values, at any depth.
        what: the thing that holds them, for the message.

    Raises:
        RegistryError: JSON has no such value (a set, a datetime, NaN ...), or a text is none (half of a character).
    """
    try:
        text = _encode(value)
        text.encode()
    except (TypeError, ValueError) as error:
        raise RegistryError(
            f"{what} cannot be kept as JSON: {error}.", hint="Use texts, finite numbers, booleans, lists and dicts."
        ) from None
    return text


def split_reference(reference: str) -> tuple[str, int | None]:
    """Return name and version of ``weather@2``, or name and None of ``weather``.

    Raises:
        ObjectNotFoundError: the text has another form, so nothing can be registered under it.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ObjectNotFoundError(
            f'"{reference}" names no registered object.', hint='Write a name, or a name and a version: "weather@2".'
        )
    name, version = match.groups()
    return name, None if version is None else int(version)
