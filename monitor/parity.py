"""Row-level skew: what was served, against what the point-in-time join gives for the same keys at the same instant.

A difference is a bug in a pipeline; drift without a difference is a change of the world. In a live log the join also
knows rows that had not yet been materialized when the request came: the log says how new the served row was, so that
this is told apart, as lag. In a replay nothing lags, and every difference is a mismatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.config import Config
from featurestore.definitions import FeatureService
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline.intake.conform import is_list
from featurestore.registry import Registry
from monitor.windows import ServingLog

#: Differing rows that a report carries, for display here.
EXAMPLES = 5


class Rows(Protocol):
    """Joined rows."""

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table."""
        ...


class Store(Protocol):
    """What the check needs of a feature store."""

    @property
    def config(self) -> Config:
        """Its configuration."""
        ...

    @property
    def registry(self) -> Registry:
        """Its registry."""
        ...

    def get_historical_features(self, entity_df: Any, features: str, *, with_status: bool = False) -> Rows:
        """Join a service's features to entity rows, each at its instant."""
        ...


@dataclass(frozen=True, kw_only=True)
class Example:
    """One differing value; it holds keys, so it is for local display only.

    Attributes:
        request_id: the request.
        row: the entity row within it.
        keys: its join keys.
        feature: what differs.
        served: what was served.
        joined: what the join gives.
    """

    request_id: str
    row: int
    keys: Mapping[str, Any]
    feature: str
    served: Any
    joined: Any


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """What a check found.

    Attributes:
        service: the service version.
        checked: rows compared.
        values: values compared.
        mismatches: rows with a value that differs and that lag does not explain.
        lagged: other rows with a value that differs: the join knows a newer row than was served.
        by_feature: mismatched rows of each feature that has some.
        examples: some of the mismatches.
    """

    service: str
    checked: int
    values: int
    mismatches: int
    lagged: int
    by_feature: Mapping[str, int]
    examples: tuple[Example, ...]


def check_parity(store: Store, service: str, *, rows: int = 1000) -> ParityReport:
    """Compare a sample of the serving log with the point-in-time join, value by value, bit by bit.

    Null equals null and NaN equals NaN; nothing else is forgiven.

    Args:
        store: configuration, registry and join.
        service: a version, ``flight_delay@1``; a bare name is resolved as in serving.
        rows: at most so many rows, chosen by hash.

    Raises:
        ObjectNotFoundError: there is no such service.
    """
    registered = store.registry.resolve_service(service)
    definition = registered.definition
    logged = ServingLog(store.config).sample(registered.id, rows)
    outputs = {one.name: view for view, fields in definition.outputs.items() for one in fields}
    if not logged.num_rows:
        return ParityReport(
            service=registered.id, checked=0, values=0, mismatches=0, lagged=0, by_feature={}, examples=()
        )
    names = [*definition.keys, *(one.name for one in definition.request)]
    entities = logged.select(names).append_column(EVENT_TIMESTAMP, logged.column("served_at"))
    joined = store.get_historical_features(entities, registered.id, with_status=True).to_arrow()
    lag = {} if store.config.replay else _lag(definition, logged, joined)
    none = np.zeros(logged.num_rows, bool)
    wrong, late = none.copy(), none.copy()
    by_feature: dict[str, int] = {}
    examples: list[Example] = []
    for feature, view in outputs.items():
        served, expected = logged.column(feature), joined.column(feature)
        differs = ~same_values(served, expected)
        explained = differs & lag.get(view, none)
        unexplained = differs & ~explained
        wrong |= unexplained
        late |= explained
        if unexplained.any():
            by_feature[feature] = int(unexplained.sum())
            examples.extend(
                Example(
                    request_id=logged.column("request_id")[at].as_py(),
                    row=logged.column("row")[at].as_py(),
                    keys={key: logged.column(key)[at].as_py() for key in definition.keys},
                    feature=feature,
                    served=served[at].as_py(),
                    joined=expected[at].as_py(),
                )
                for at in np.flatnonzero(unexplained)[: EXAMPLES - len(examples)].tolist()
            )
    return ParityReport(
        service=registered.id,
        checked=logged.num_rows,
        values=logged.num_rows * len(outputs),
        mismatches=int(wrong.sum()),
        lagged=int((late & ~wrong).sum()),
        by_feature=by_feature,
        examples=tuple(examples),
    )


def same_values(left: pa.ChunkedArray, right: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return, for each row, whether two columns hold the same: bit for bit, but null is null and NaN is NaN.

    Lists and structs are the same when all that they hold is.
    """
    if pa.types.is_struct(right.type) or is_list(right.type):
        return _same_nested(left.combine_chunks(), right.combine_chunks())
    if left.type != right.type:
        left = left.cast(right.type)
    nulls = pc.is_null(left).to_numpy(), pc.is_null(right).to_numpy()
    if pa.types.is_floating(right.type):
        a, b = (column.fill_null(0.0).to_numpy() for column in (left, right))
        bits = np.dtype(f"i{a.dtype.itemsize}")
        equal = (a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))
    else:
        equal = pc.fill_null(pc.equal(left, right), False).to_numpy()
    same: NDArray[np.bool_] = np.where(nulls[0] | nulls[1], nulls[0] & nulls[1], equal)
    return same


def _same_nested(left: pa.Array, right: pa.Array) -> NDArray[np.bool_]:
    present = [column.is_valid().to_numpy(zero_copy_only=False) for column in (left, right)]
    same: NDArray[np.bool_] = present[0] == present[1]
    if pa.types.is_struct(right.type):
        for name in (one.name for one in right.type):
            children = (column.flatten()[column.type.get_field_index(name)] for column in (left, right))
            same &= same_values(*(pa.chunked_array([child]) for child in children))
        return same
    # As plain lists: files keep lists of a fixed size so.
    plain = [column.cast(pa.list_(column.type.value_type)) for column in (left, right)]
    lengths = [pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False) for column in plain]
    same &= lengths[0] == lengths[1]
    # Only of rows of one length can the elements be compared one by one.
    elements = (pa.chunked_array([column.filter(pa.array(same)).flatten()]) for column in plain)
    rows = np.repeat(np.flatnonzero(same), lengths[1][same])
    same[rows[~same_values(*elements)]] = False
    return same


def _lag(definition: FeatureService, logged: pa.Table, joined: pa.Table) -> dict[str, NDArray[np.bool_]]:
    """Return, for each use of a view and row, whether the join knows a newer row than was served, of it or an input."""
    found: dict[str, NDArray[np.bool_]] = {}
    for use in definition.uses:
        name = f"{use.name}__{EVENT_TIMESTAMP}"
        served, known = (_instants(table.column(name)) for table in (logged, joined))
        found[use.name] = known > served
    for on_demand in definition.on_demand_views:
        inputs = [found[use.name] for use in on_demand.uses]
        found[on_demand.name] = np.any(inputs, axis=0) if inputs else np.zeros(logged.num_rows, bool)
    return found


def _instants(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return microseconds since 1970, and less than any instant where there is none."""
    instants: NDArray[np.int64] = (
        column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy()
    )
    return instants
