"""What may be a name, and which column names are taken."""

from __future__ import annotations

import re
from collections.abc import Iterable

from featurestore.errors import DefinitionError

EVENT_TIMESTAMP = "event_timestamp"
CREATED_TIMESTAMP = "created_timestamp"
INGESTED_AT = "ingested_at"
LOAD_ID = "load_id"
LOAD_ORDER = "load_order"
ROW_NUMBER = "row_number"

#: Columns that every offline table has beside keys and features, and those by which DuckDB tells where a row stands in
#: the files: a column of the same name would hide them, and the join would find the wrong rows.
RESERVED_COLUMNS = frozenset(
    {EVENT_TIMESTAMP, CREATED_TIMESTAMP, INGESTED_AT, LOAD_ID, LOAD_ORDER, ROW_NUMBER, "file_index", "file_row_number"}
)

#: Stands between a view's name and a feature's in the full name of a feature.
SEPARATOR = "__"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


def check_name(name: object, what: str) -> str:
    """Return ``name`` if it may name an object, a feature or a key.

    Raises:
        DefinitionError: it is not a text, or has a form that file names, SQL or full feature names cannot carry.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or SEPARATOR in name or name.endswith("_"):
        raise DefinitionError(
            f"{name!r} cannot name {what}.",
            hint='A name starts with a letter, goes on with letters, digits and single "_"; at most 100 of them.',
        )
    return name


def check_column(name: object, what: str) -> str:
    """Return ``name`` if it may name a column of a view: a name, and not one that the store adds itself.

    Raises:
        DefinitionError: it may not.
    """
    checked = check_name(name, what)
    if checked.lower() in RESERVED_COLUMNS:  # SQL does not tell capitals from small letters
        raise DefinitionError(
            f'"{checked}" cannot name {what}: the store adds a column of that name.', hint="Rename it."
        )
    return checked


def check_unique(names: Iterable[str], what: str, *, hint: str = "Remove or rename one of them.") -> None:
    """Raise :class:`DefinitionError` if a name occurs twice; SQL does not tell capitals from small letters."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name.lower())
        if other == name:
            raise DefinitionError(f'{what} names "{name}" twice.', hint=hint)
        if other is not None:
            raise DefinitionError(
                f'{what} names "{other}" and "{name}", which SQL takes for one.', hint="Rename one of them."
            )
        seen[name.lower()] = name
