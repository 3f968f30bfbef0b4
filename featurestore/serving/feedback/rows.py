"""Predictions and outcomes as rows: from a request or a frame, checked, in the columns that are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.errors import InvalidRequestError, LimitExceededError, closest
from featurestore.registry.records import ModelRecord
from featurestore.v1 import serving_pb2 as pb

_INSTANT = pa.timestamp("us", tz="UTC")
_PROBABILITIES = pa.map_(pa.string(), pa.float64())
#: The most letters of an id, a label or a metric.
_LONGEST = 1_000
#: By how much the clocks of callers may be ahead of ours, in microseconds.
_CLOCK_SKEW = 60_000_000


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Predictions or outcomes: what a caller gives of each, and what is stored.

    Attributes:
        name: ``predictions``; the folder's name too.
        one: ``prediction``.
        instant: the column that says when: the present instant where it is not given.
        given: the columns of a caller.
        defaults: by column, what stands for one that is left out or null; a column without must be there.
        hint: an example.
    """

    name: str
    one: str
    instant: str
    given: pa.Schema
    hint: str
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stored(self) -> pa.Schema:
        """The columns of a segment: the model (``churn@3``, or ``churn`` of outcomes), those given, and the arrival."""
        return pa.schema([("model", pa.string()), *self.given, ("logged_at", _INSTANT)])


PREDICTIONS = Kind(
    name="predictions",
    one="prediction",
    instant="predicted_at",
    given=pa.schema(
        [
            ("prediction_id", pa.string()),
            ("request_id", pa.string()),
            ("row", pa.int64()),
            ("number", pa.float64()),
            ("label", pa.string()),
            ("probabilities", _PROBABILITIES),
            ("predicted_at", _INSTANT),
        ]
    ),
    defaults={"request_id": "", "row": 0},
    hint='For example {"prediction_id": "p-1", "request_id": answer.request_id, "row": 0, "number": 0.7}.',
)
OUTCOMES = Kind(
    name="outcomes",
    one="outcome",
    instant="observed_at",
    given=pa.schema(
        [
            ("prediction_id", pa.string()),
            ("metric", pa.string()),
            ("number", pa.float64()),
            ("label", pa.string()),
            ("observed_at", _INSTANT),
        ]
    ),
    defaults={"metric": ""},
    hint='For example {"prediction_id": "p-1", "number": 1.0}.',
)


def from_predictions(sent: pb.LogPredictionsRequest) -> pa.Table:
    """Return the predictions of a request in the columns of :data:`PREDICTIONS`."""
    rows = sent.predictions
    columns: dict[str, list[Any]] = {
        "prediction_id": [one.prediction_id for one in rows],
        "request_id": [one.request_id for one in rows],
        "row": [one.row for one in rows],
        **_values(rows),
        # Sorted, as the order of a map on the wire means nothing.
        "probabilities": [sorted(one.probabilities.items()) or None for one in rows],
        "predicted_at": [one.predicted_at or None for one in rows],
    }
    return _table(PREDICTIONS, columns)


def from_outcomes(sent: pb.LogOutcomesRequest) -> pa.Table:
    """Return the outcomes of a request in the columns of :data:`OUTCOMES`."""
    rows = sent.outcomes
    columns = {
        "prediction_id": [one.prediction_id for one in rows],
        "metric": [one.metric for one in rows],
        **_values(rows),
        "observed_at": [one.observed_at or None for one in rows],
    }
    return _table(OUTCOMES, columns)


def _values(rows: Any) -> dict[str, list[Any]]:
    kinds = [one.WhichOneof("value") for one in rows]
    return {
        name: [getattr(one, name) if kind == name else None for one, kind in zip(rows, kinds, strict=True)]
        for name in ("number", "label")
    }


def _table(kind: Kind, columns: Mapping[str, list[Any]]) -> pa.Table:
    arrays = [
        pa.array(columns[one.name], pa.int64()).cast(one.type)
        if one.name == kind.instant
        else pa.array(columns[one.name], one.type)
        for one in kind.given
    ]
    return pa.table(arrays, schema=kind.given)


def from_frame(kind: Kind, table: pa.Table) -> pa.Table:
    """Return rows that a caller has as a table in the columns of a kind; columns that are left out are null.

    Raises:
        InvalidRequestError: a column is unknown, or of a type that cannot become the declared one.
    """
    for name in table.column_names:
        if name not in kind.given.names:
            raise InvalidRequestError(
                f'The {kind.name} have a column "{name}", which is none of theirs.',
                hint=closest(name, kind.given.names),
                field=name,
            )
    arrays = []
    for one in kind.given:
        if one.name not in table.column_names:
            arrays.append(pa.nulls(table.num_rows, one.type))
            continue
        column = table.column(one.name).combine_chunks()
        try:
            arrays.append(_cast(column, one.type))
        except (pa.ArrowException, ValueError, TypeError, AttributeError):
            raise InvalidRequestError(
                f'Column "{one.name}" of the {kind.name} is {column.type}, and {one.type} is needed.',
                hint="Give instants as datetimes with a time zone." if one.name == kind.instant else kind.hint,
                field=one.name,
            ) from None
    return pa.table(arrays, schema=kind.given)


def _cast(column: pa.Array, dtype: pa.DataType) -> pa.Array:
    if dtype == _PROBABILITIES and not pa.types.is_null(column.type):
        # Dicts arrive as structs, in which every row has the labels of all.
        rows = [None if one is None else dict(one) for one in column.to_pylist()]
        pairs = [None if one is None else sorted((k, v) for k, v in one.items() if v is not None) for one in rows]
        return pa.array([one or None for one in pairs], dtype)
    if pa.types.is_timestamp(column.type) and dtype == _INSTANT:
        if column.type.tz is None:
            raise ValueError("which instant that is depends on where one is")
        return column.cast(dtype, safe=False)  # what is finer than a microsecond is left away
    if dtype == _INSTANT and not pa.types.is_null(column.type):
        raise TypeError(column.type)
    return column.cast(dtype)


def checked(kind: Kind, given: pa.Table, model: ModelRecord, *, now: int, most: int | None = None) -> pa.Table:
    """Return rows as they are stored.

    Args:
        kind: predictions or outcomes.
        given: in the columns of the kind.
        model: whose they are.
        now: the server's instant, microseconds since 1970: a rehearsal's clock in a rehearsal.
        most: rows that one request may have; None is any number.

    Raises:
        InvalidRequestError: a row cannot be what it says; the error names the first, and the field.
        LimitExceededError: there are too many.
    """
    if most is not None and given.num_rows > most:
        raise LimitExceededError(
            f"The request has {given.num_rows:,} {kind.name}; at most {most:,} are taken at once.",
            hint="Send several requests, or raise max_rows under [serving] in featurestore.toml.",
            limit="max_rows",
        )
    filled = {name: pc.fill_null(given.column(name), value) for name, value in kind.defaults.items()}
    columns = {one.name: filled.get(one.name, given.column(one.name)) for one in kind.given}
    _check_texts(kind, columns)
    _check_values(kind, columns)
    if "probabilities" in columns:
        _check_probabilities(kind, columns["probabilities"])
    instants = columns[kind.instant].cast(pa.int64())
    _refuse(kind, kind.instant, pc.less(instants, 0), "lies before 1970", "Send microseconds since 1970, UTC.")
    _refuse(
        kind,
        kind.instant,
        pc.greater(instants, now + _CLOCK_SKEW),
        "lies in the future",
        "Send microseconds since 1970, UTC; 0 stands for now.",
    )
    columns[kind.instant] = pc.fill_null(instants, now).cast(_INSTANT)
    name = model.id if kind is PREDICTIONS else model.name
    columns["model"] = pa.repeat(pa.scalar(name, pa.string()), given.num_rows)
    columns["logged_at"] = pa.nulls(given.num_rows, _INSTANT)  # stamped where arrivals have one order
    return pa.table([columns[one.name] for one in kind.stored], schema=kind.stored)


def _check_texts(kind: Kind, columns: Mapping[str, pa.ChunkedArray]) -> None:
    empty = pc.equal(pc.fill_null(pc.utf8_length(columns["prediction_id"]), 0), 0)
    _refuse(kind, "prediction_id", empty, "is empty", "An outcome finds its prediction by it; a UUID will do.")
    for name in ("prediction_id", "request_id", "metric", "label"):
        if name in columns:
            long = pc.greater(pc.utf8_length(columns[name]), _LONGEST)
            _refuse(kind, name, long, f"has over {_LONGEST:,} letters", "Send a short name for it.")
    if "row" in columns:
        _refuse(kind, "row", pc.less(columns["row"], 0), "is below 0", "Entity rows count from 0.")


def _check_values(kind: Kind, columns: Mapping[str, pa.ChunkedArray]) -> None:
    number, label = columns["number"], columns["label"]
    none = pc.and_(pc.is_null(number), pc.is_null(label))
    _refuse(kind, "value", none, "is missing", "Send a number or a label.")
    both = pc.and_(pc.is_valid(number), pc.is_valid(label))
    _refuse(kind, "value", both, "is both a number and a label", "Send one of them.")
    _refuse(
        kind, "number", pc.invert(pc.is_finite(number)), "is not finite", f"Send no {kind.one} where there is none."
    )
    _refuse(kind, "label", pc.equal(pc.utf8_length(label), 0), "is empty", "Send the name of the class.")


def _check_probabilities(kind: Kind, column: pa.ChunkedArray) -> None:
    if column.null_count == len(column):
        return
    # A comparison with NaN is false.
    wrong = [one is not None and not all(0 <= value <= 1 for _, value in one) for one in column.to_pylist()]
    says = "has one that does not lie between 0 and 1"
    _refuse(kind, "probabilities", pa.array(wrong), says, "Send probabilities, not scores or percentages.")


def _refuse(kind: Kind, name: str, wrong: Any, says: str, hint: str) -> None:
    row = pc.index(pc.fill_null(wrong, False), True).as_py()
    if row >= 0:
        path = f"{kind.name}[{row}].{name}"
        raise InvalidRequestError(f"{path} {says}.", hint=hint, field=path)
