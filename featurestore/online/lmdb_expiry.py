"""Old rows of an LMDB store: looked for in one transaction, and removed in another that looks again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from featurestore.online.base import oldest_order


def look_for_older(
    transaction: Any, prefix: bytes, before: int, after: bytes | None, limit: int
) -> tuple[list[bytes], bytes | None]:
    """Return which of the next rows of a table have event times before an instant, and where to go on.

    Args:
        transaction: with buffers, so that a row costs no copy.
        prefix: of the table's keys.
        before: the instant, microseconds since 1970.
        after: look at keys after this one; None begins.
        limit: how many rows to look at.

    Returns:
        The keys, without prefix, and the last key that was looked at; None at the end of the table.
    """
    oldest = oldest_order(before)
    found: list[bytes] = []
    last = None
    with transaction.cursor() as cursor:
        # The least key after a key is that with a zero byte more.
        there = cursor.set_range(prefix if after is None else prefix + after + b"\x00")
        if not there:
            return found, None
        for number, (key, value) in enumerate(cursor.iternext(), 1):
            if key[: len(prefix)] != prefix:
                return found, None
            if bytes(value[: len(oldest)]) < oldest:
                found.append(bytes(key[len(prefix) :]))
            if number == limit:
                last = bytes(key[len(prefix) :])
                break
    return found, last


def delete_older(transaction: Any, prefix: bytes, before: int, keys: Iterable[bytes]) -> int:
    """Remove the rows of keys whose event times are still before an instant, and return how many there were."""
    oldest = oldest_order(before)
    removed = 0
    for key in keys:
        present = transaction.get(prefix + key)
        if present is not None and present < oldest:
            removed += transaction.delete(prefix + key)
    return removed
