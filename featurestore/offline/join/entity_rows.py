"""Entity rows: of whom, and at which instants, features are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from featurestore.definitions import FeatureService
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import SchemaError
from featurestore.offline.intake.conform import conform, find, instants, sentence
from featurestore.offline.join import order as join


def feature_columns(service: FeatureService, *, full: bool) -> dict[tuple[str, str], str]:
    """Return the names of a result's columns of features, in order.

    Args:
        service: whose features they are.
        full: whether all go by their full names, ``weather__temp``, not just those of uses with a name of their own.

    Returns:
        By the name of the use or on-demand view, and that of the feature in :attr:`FeatureService.outputs`: the column.
    """
    return {
        (owner, one.name): one.under(owner).name if full else one.name
        for owner, fields in service.outputs.items()
        for one in fields
    }


@dataclass(frozen=True, kw_only=True)
class EntityRows:
    """Entity rows whose columns were checked against a service.

    Attributes:
        given: the rows as they came.
        typed: keys and request fields in the declared types, and ``event_timestamp``.
        notes: casts made.
    """

    given: pa.Table
    typed: pa.Table
    notes: tuple[str, ...]


def check_entity_rows(
    given: pa.Table,
    service: FeatureService,
    timestamp_field: str,
    *,
    with_status: bool,
    full_feature_names: bool = False,
) -> EntityRows:
    """Bring the keys, request fields and instants of entity rows to the declared types.

    A request field that has a default may be absent, and its nulls are the default.
    An empty list of dicts, which has no columns, stands for rows with the right ones.

    Args:
        given: the rows as they came.
        service: whose features are asked for.
        timestamp_field: the column of the instants.
        with_status: whether statuses are asked for too, whose names no column may have then.
        full_feature_names: whether features are asked for under their full names.

    Raises:
        SchemaError: a column is missing, of another type, has a name that is also a feature's, or a row has no instant.
        TimestampError: the instants name no time zone.
    """
    what = f'the entity rows for "{service.name}"'
    if not isinstance(timestamp_field, str) or not timestamp_field:
        raise SchemaError(
            f"timestamp_field={timestamp_field!r} names no column of {what}.",
            hint=f'Name the column of the instants; without timestamp_field it is "{EVENT_TIMESTAMP}".',
        )
    needed = service.keys | {one.name: one.dtype for one in service.request}
    if not given.column_names and not given.num_rows:
        columns_of = {name: pa.array([], dtype.to_arrow()) for name, dtype in needed.items()}
        given = pa.table({timestamp_field: pa.array([], pa.timestamp("us", tz="UTC"))} | columns_of)
    added = dict.fromkeys(feature_columns(service, full=full_feature_names).values(), "a feature of the service")
    if with_status:
        for use in service.uses:
            for name in (join.status_column(use), join.event_column(use)):
                if name in added:
                    raise SchemaError(
                        f'"{name}" is the full name of a feature, and of a column that with_status adds.',
                        hint="Leave out full_feature_names or with_status.",
                    )
                added[name] = "added with_status"
    for name, kind in added.items():
        if name in given.column_names:
            raise SchemaError(
                f'{sentence(what)} have a column "{name}", which is also {kind}.', hint="Rename or drop it."
            )
    columns: dict[str, pa.Array] = {}
    notes: list[str] = []
    for name, dtype in service.keys.items():
        columns[name], note = conform(find(given, name, what), dtype, name, what)
        notes.append(note)
    for one in service.request:
        if one.default is not None and one.name not in given.column_names:
            columns[one.name] = one.filled(pa.nulls(given.num_rows, one.dtype.to_arrow()))
            continue
        column, note = conform(find(given, one.name, what), one.dtype, one.name, what)
        columns[one.name] = one.filled(column)
        notes.append(note)
    # The instants go under the store's name, so they may come in a column that is also a key or a request field.
    columns[EVENT_TIMESTAMP], note = instants(find(given, timestamp_field, what), timestamp_field, what)
    notes.append(note)
    missing = columns[EVENT_TIMESTAMP].null_count
    if missing:
        raise SchemaError(f'{missing:,} of {what} have no "{timestamp_field}".', hint="Drop them, or give the instant.")
    return EntityRows(given=given, typed=pa.table(columns), notes=tuple(note for note in notes if note))
