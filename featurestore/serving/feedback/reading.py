"""What was predicted and what came of it, each once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore import types
from featurestore.errors import OfflineStoreError
from featurestore.serving.feedback.rows import OUTCOMES, PREDICTIONS, Kind
from featurestore.serving.feedback.segments import segments

#: Files are merged while they are read, so a listing may be old; as often as this in a row it is not by chance.
_ATTEMPTS = 20
_PLACE = "place__"


def predictions(folder: Path, model: str, start: datetime | None = None, end: datetime | None = None) -> pa.Table:
    """Return predictions in the order of their instants, each once: of those with one id the first that arrived.

    Args:
        folder: of predictions and outcomes.
        model: ``churn``, or ``churn@3`` for those of one version.
        start: the first instant (``predicted_at``).
        end: the first instant that is too late.

    Returns:
        The columns of ``PREDICTIONS.stored``. An id that was first sent outside the range is not in it.

    Raises:
        OfflineStoreError: a file cannot be read.
    """
    name, _, version = model.partition("@")
    within = _within("predicted_at", start, end)
    found = _read(PREDICTIONS, folder, name, within)
    kept = _one_each(found, ["prediction_id"], ["logged_at", _PLACE], last=False)
    if within is not None and kept.num_rows:
        wanted = pc.field("prediction_id").isin(kept.column("prediction_id").combine_chunks())
        outside = _read(PREDICTIONS, folder, name, wanted & ~within, ["prediction_id", "logged_at"])
        kept = _not_before(kept, outside)
    if version:
        kept = kept.filter(pc.equal(kept.column("model"), model))
    return kept.sort_by([("predicted_at", "ascending"), ("prediction_id", "ascending")])


def outcomes(
    folder: Path, model: str, start: datetime | None = None, end: datetime | None = None, *, every: bool = False
) -> pa.Table:
    """Return outcomes in the order of their instants: of those of one prediction and metric the one observed last.

    What was observed at ``end`` or later counts as not known yet, so a range that is over stays the same.

    Args:
        folder: of predictions and outcomes.
        model: ``churn``; a version says nothing here, as an outcome is of a prediction, whichever version made it.
        start: the first instant (``observed_at``).
        end: the first instant that is too late.
        every: also those that a later one replaces, for those who count them.

    Returns:
        The columns of ``OUTCOMES.stored``.

    Raises:
        OfflineStoreError: a file cannot be read.
    """
    found = _read(OUTCOMES, folder, model.partition("@")[0], _within("observed_at", start, end))
    # One arrival is one outcome: a merge that died leaves it in two files.
    one = ["observed_at", "logged_at"] if every else []
    kept = _one_each(found, ["prediction_id", "metric", *one], ["observed_at", "logged_at", _PLACE], last=True)
    return kept.sort_by([("observed_at", "ascending"), ("prediction_id", "ascending"), ("metric", "ascending")])


def known_predictions(folder: Path, model: str, ids: pa.Array) -> pa.Array:
    """Return those of some ids under which any version of a model predicted at any time.

    Args:
        folder: of predictions and outcomes.
        model: ``churn``; a version says nothing here.
        ids: of predictions, texts.

    Raises:
        OfflineStoreError: a file cannot be read.
    """
    wanted = pc.field("prediction_id").isin(ids)
    found = _read(PREDICTIONS, folder, model.partition("@")[0], wanted, ["prediction_id"])
    return found.column("prediction_id").unique()


def _within(column: str, start: datetime | None, end: datetime | None) -> pc.Expression | None:
    instant = pa.timestamp("us", tz="UTC")
    parts = []
    if start is not None:
        parts.append(pc.field(column) >= pa.scalar(types.utc(start, "start"), instant))
    if end is not None:
        parts.append(pc.field(column) < pa.scalar(types.utc(end, "end"), instant))
    return parts[0] & parts[1] if len(parts) > 1 else next(iter(parts), None)


def _read(
    kind: Kind, folder: Path, model: str, wanted: pc.Expression | None, columns: Sequence[str] | None = None
) -> pa.Table:
    import pyarrow.dataset as ds  # which imports pandas, where that is installed

    schema, where = kind.stored, folder / kind.name / model
    names = schema.names if columns is None else list(columns)
    for attempt in range(_ATTEMPTS):
        files = [str(one) for one in segments(where)]
        if not files:
            return pa.schema([schema.field(name) for name in names]).empty_table()
        try:
            return ds.dataset(files, schema=schema, format="parquet").to_table(columns=names, filter=wanted)
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
        except (OSError, pa.ArrowException) as error:
            raise OfflineStoreError(
                f"The {kind.name} of {model} in {where} cannot be read: {error}",
                hint="Bring the file back from a backup, or remove it.",
            ) from error
    raise AssertionError("the last attempt returns or raises")


def _one_each(rows: pa.Table, key: Sequence[str], order: Sequence[str], *, last: bool) -> pa.Table:
    """Return of the rows with one key the first by an order, or the last; rows that are equal in it as they stand."""
    if not rows.num_rows:
        return rows
    numbered = rows.append_column(_PLACE, pa.array(np.arange(rows.num_rows)))
    ordered = numbered.sort_by([(name, "ascending") for name in (*key, *order)])
    same = np.ones(rows.num_rows - 1, np.bool_)
    for name in key:
        column = ordered.column(name)
        same &= pc.equal(column.slice(1), column.slice(0, rows.num_rows - 1)).to_numpy()
    kept = np.append(~same, True) if last else np.append(True, ~same)
    return ordered.filter(pa.array(kept)).drop_columns([_PLACE])


def _not_before(rows: pa.Table, others: pa.Table) -> pa.Table:
    """Return the rows whose id arrived in none of the others before."""
    first = others.group_by("prediction_id").aggregate([("logged_at", "min")])
    earliest = dict(zip(*(first.column(name).to_pylist() for name in ("prediction_id", "logged_at_min")), strict=True))
    if not earliest:
        return rows
    ids, arrived = rows.column("prediction_id").to_pylist(), rows.column("logged_at").to_pylist()
    return rows.filter(pa.array([earliest.get(one, at) >= at for one, at in zip(ids, arrived, strict=True)]))
