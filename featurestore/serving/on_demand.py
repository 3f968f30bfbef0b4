"""The on-demand features of a lookup: computed from its stored rows and the request, by the views' expressions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.errors import DataError, InvalidRequestError
from featurestore.online.columns import to_column
from featurestore.serving.plan import ServicePlan
from featurestore.serving.rows import StoredRow


def on_demand_features(
    plan: ServicePlan,
    by_view: Mapping[str, tuple[list[StoredRow], bytes]],
    columns: Mapping[str, list[Any]],
    count: int,
) -> tuple[dict[str, pa.Array], dict[str, list[bytes]]]:
    """Return the on-demand features by name, and the records of each on-demand view.

    Args:
        plan: the service.
        by_view: by use of a stored view, the row of each entity row, and what its order must not be below.
        columns: the request's values by column.
        count: entity rows.

    Raises:
        InvalidRequestError: an expression, or a function, cannot be evaluated for these values.
    """
    # By where they come from too: another view, or the request, may have a column of the same name.
    needed = {source for view in plan.on_demand for source in view.sources.values()}
    inputs = {
        ("", name): plan.filled(name, to_column(columns[name], dtype))
        for name, dtype in plan.request.items()
        if ("", name) in needed
    }
    for view in plan.stored:
        wanted = [one for one in view.codec.fields if (view.name, one.name) in needed]
        if not wanted:
            continue
        rows, oldest = by_view[view.name]
        decoded = view.codec.decode([row.record if row.order >= oldest else None for row in rows])
        inputs |= {(view.name, one.name): one.filled(decoded[one.name]) for one in wanted}
    computed: dict[str, pa.Array] = {}
    records: dict[str, list[bytes]] = {}
    for computing in plan.on_demand:
        # An expression may name no input at all; its frame still needs the height.
        frame = pl.DataFrame(
            {
                name: pl.Series(name, inputs[computing.sources[name]], dtype)
                for name, dtype in computing.transform.inputs.items()
            },
            height=count,
        )
        try:
            made = computing.transform.evaluate(frame)
        except DataError as error:
            raise InvalidRequestError(error.message, hint=error.hint) from error
        arrays = {
            one.name: one.filled(made[one.name].to_arrow().cast(one.dtype.to_arrow())) for one in computing.codec.fields
        }
        computed |= arrays
        records[computing.name] = computing.codec.encode(pa.table(arrays))
    return computed, records
