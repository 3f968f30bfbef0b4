"""Rows of an LMDB store, written under the prefix of their table and generation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from featurestore.online.base import ORDER_BYTES, Row, Written


def put_rows(transaction: Any, prefix: bytes, rows: Iterable[Row]) -> Written:
    """Write each row unless the key's present row is as new or newer."""
    get, put = transaction.get, transaction.put
    written = older = 0
    for key, value in rows:
        full = prefix + key
        # Of keys that are new, as the most are the first time, the tree is searched once.
        if put(full, value, True, False):
            written += 1
        elif get(full)[:ORDER_BYTES] < value[:ORDER_BYTES]:
            put(full, value)
            written += 1
        else:
            older += 1
    return Written(written, older)


def delete_rows(transaction: Any, prefix: bytes) -> None:
    """Remove all rows of a generation."""
    with transaction.cursor() as cursor:
        found = cursor.set_range(prefix)
        while found and cursor.key().startswith(prefix):
            found = cursor.delete()
