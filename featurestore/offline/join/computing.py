"""What a join does with the rows that it has found, whichever engine found them: status, defaults, on-demand views.

It knows nothing of an engine, so that it runs where rows are, in a process of ours or in an executor of a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions import FeatureService, FeatureView, Field
from featurestore.transforms import Transform

#: Values of ``<view>__status``: those of RowStatus in the serving contract.
PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 2, 3

_POSITION = "position__"


def wanted_fields(service: FeatureService, transforms: Mapping[str, Transform]) -> dict[str, list[Field]]:
    """Return of each use of a view, by name, the features asked for, or that an on-demand view is computed from.

    Args:
        service: what is joined.
        transforms: its on-demand views, by name.
    """
    found = {}
    for use in service.uses:
        names = {one.feature for one in service.outputs.get(use.name, ())}
        for view in service.on_demand_views:
            if use.name in (one.name for one in view.uses):
                inputs = set(transforms[view.name].inputs)
                names |= {one.feature for one in use.outputs if one.name in inputs}
        found[use.name] = [one for one in use.view.schema if one.name in names]
    return found


def statuses(
    view: FeatureView, found: NDArray[np.bool_], events: NDArray[np.int64], instants: NDArray[np.int64]
) -> NDArray[np.int8]:
    """Return whether the newest row of each entity row counts.

    Args:
        view: whose rows.
        found: whether there is one.
        events: its event time, microseconds since 1970; any number where there is none.
        instants: those of the entity rows.
    """
    status = np.where(found, np.int8(PRESENT), np.int8(NOT_FOUND))
    if view.ttl is not None:
        # Without a sign the difference of any two instants fits; a match is never newer than its entity row.
        age = instants.view(np.uint64) - events.view(np.uint64)
        status[found & (age > view.ttl // timedelta(microseconds=1))] = OUTSIDE_MAX_AGE
    return status


def computed(transform: Transform, joined: Mapping[str, pa.Table], typed: pa.Table) -> pa.Table:
    """Return the features of an on-demand view.

    Args:
        transform: the view, compiled.
        joined: the features of each use, by its name, with defaults filled in.
        typed: keys and request fields, as many rows.

    Raises:
        DataError: the view cannot be computed for these values.
    """
    view = transform.view
    sources = {one.name: (joined[use.name], one.feature) for use in view.uses for one in use.outputs}
    columns: dict[str, Any] = {}
    for name in transform.inputs:
        table, column = sources.get(name, (typed, name))
        columns[name] = table.column(column)
    # A frame without columns has no height: expressions that name nothing still give one value a row.
    columns[_POSITION] = pa.array(np.arange(typed.num_rows))
    frame = pl.from_arrow(pa.table(columns))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
    made = transform.evaluate(frame).to_arrow()
    # Polars hands texts out as string views; the result has the declared Arrow types.
    declared = pa.table({one.name: made.column(one.name).cast(one.dtype.to_arrow()) for one in view.schema})
    return filled(declared, view.schema)


def filled(table: pa.Table, schema: Sequence[Field]) -> pa.Table:
    """Return a table with the default of each field in the place of its nulls."""
    for one in schema:
        place = table.schema.get_field_index(one.name)
        table = table.set_column(place, one.name, one.filled(table.column(place)))
    return table
