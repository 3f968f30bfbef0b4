"""The entity rows of a training request, as SQL: what was served, with what came of it; or what a policy asks for.

The text is complete: range of time, what is left out and the order of the rows are in it, so that whoever runs it on
the same tables gets the same rows in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from featurestore.config import Config
from featurestore.definitions import FeatureService
from featurestore.errors import MonitorError
from featurestore.offline.datasets.manifest import Recipe
from featurestore.offline.engine import identifier
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.registry.records import ModelRecord
from featurestore.serving.feedback import outcomes, predictions
from monitor.windows import ServingLog

#: What a query may read beside the FileSources of the project.
LOG, PREDICTIONS, OUTCOMES = "serving_log", "predictions", "outcomes"

#: What stands around the rows of a request.
_BEFORE, _AFTER = "SELECT * FROM (\n", "\n) AS entity_rows\nWHERE "

#: How a label is cast to be what it was in the training data of the model at hand.
_CASTS: Mapping[str, str] = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
}


def whole_query(
    rows: str,
    *,
    timestamp_field: str,
    since: datetime,
    until: datetime,
    left_out: Sequence[tuple[datetime, datetime]],
) -> str:
    """Return the query of a request: rows of a range of time, less what is left out, always in the same order.

    Args:
        rows: a SELECT of entity rows.
        timestamp_field: their instants.
        since: the first instant.
        until: the first instant that is too late.
        left_out: first instants of what is broken, and first instants after it.
    """
    at = identifier(timestamp_field)
    lines = [f"{at} >= {_instant(since)}", f"{at} < {_instant(until)}"]
    lines += [f"NOT ({at} >= {_instant(start)} AND {at} < {_instant(end)})" for start, end in left_out]
    inner = rows.strip().rstrip(";").strip()
    where = "\n  AND ".join(lines)
    return f"{_BEFORE}{inner}{_AFTER}{where}\nORDER BY ALL"


def count_query(whole: str) -> str:
    """Return a SELECT of how many rows a query gives, as ``rows``."""
    return f"SELECT count(*) AS rows FROM (\n{whole}\n) AS counted"


def inner_query(whole: str) -> str:
    """Return the SELECT of entity rows that :func:`whole_query` was given."""
    return whole.removeprefix(_BEFORE).rpartition(_AFTER)[0]


def served_query(
    service: FeatureService,
    recipe: Recipe,
    *,
    model: ModelRecord | None,
    columns: Mapping[str, str],
    as_of: datetime,
) -> str:
    """Return a SELECT of what was served: keys, request fields, instants, and the label where there is one.

    Args:
        service: the version that is to be trained for.
        recipe: of the training data at hand: its label and its column of instants.
        model: the model at hand, whose predictions lead to the outcomes.
        columns: Arrow types of the training data at hand, by column.
        as_of: outcomes that were observed, or logged, later do not count.

    Raises:
        MonitorError: there is a label, and the model does not say what came of its predictions.
    """
    needed = [*service.keys, *(one.name for one in service.request if one.default is None)]
    given = list(dict.fromkeys([*service.keys, *(one.name for one in service.request)]))
    listed = ", ".join(f"served.{identifier(name)}" for name in given)
    at = f"served.served_at AS {identifier(recipe.timestamp_field)}"
    there = [f"served.{identifier(name)} IS NOT NULL" for name in needed]
    if recipe.label is None:
        where = f"\nWHERE {' AND '.join(there)}" if there else ""
        return f"SELECT {', '.join(filter(None, [listed, at]))}\nFROM {LOG} AS served{where}"
    value = _label(recipe.label, model, columns)
    known = [*there, f"{value} IS NOT NULL"]
    end = _instant(as_of)
    # A lookup may have been scored twice, and an outcome corrected: the first prediction, and the last outcome, count.
    return (
        f"SELECT {', '.join(filter(None, [listed, at]))}, {value} AS {identifier(recipe.label)}\n"
        f"FROM {LOG} AS served\n"
        "JOIN (\n"
        f"  SELECT * FROM {PREDICTIONS} WHERE request_id <> '' AND logged_at < {end}\n"
        '  QUALIFY row_number() OVER (PARTITION BY request_id, "row" '
        "ORDER BY predicted_at, logged_at, prediction_id) = 1\n"
        ') AS predicted ON predicted.request_id = served.request_id AND predicted."row" = served."row"\n'
        "LEFT JOIN (\n"
        f"  SELECT * FROM {OUTCOMES} WHERE metric = '' AND observed_at < {end} AND logged_at < {end}\n"
        "  QUALIFY row_number() OVER (PARTITION BY prediction_id ORDER BY observed_at DESC, logged_at DESC) = 1\n"
        ") AS observed ON observed.prediction_id = predicted.prediction_id\n"
        f"WHERE {' AND '.join(known)}"
    )


def _label(label: str, model: ModelRecord | None, columns: Mapping[str, str]) -> str:
    task = "" if model is None else model.evaluation.task
    if model is None or not task:
        whose = "no model" if model is None else f"model {model.id}, which declares no task,"
        raise MonitorError(
            f'The training data has the label "{label}", and {whose} says what comes of predictions.',
            hint="Say where labels come from: RetrainingPolicy(entity_rows='SELECT ... FROM ...'); or declare the "
            "model's task, and log predictions with their request_id, and outcomes.",
        )
    texts = task == "multiclass" or (task == "binary" and bool(model.evaluation.positive_label))
    value = "observed.label" if texts else "observed.number"
    if model.evaluation.missing_outcome == "negative" and not texts:
        value = f"COALESCE({value}, 0)"
    dtype = _CASTS.get(columns.get(label, ""))
    return f"CAST({value} AS {dtype})" if dtype else value


def read_rows(
    config: Config, registry: Registry, query: str, service: FeatureService, *, model: str, what: str
) -> pa.Table:
    """Return what a request's query gives.

    Args:
        config: where everything lies; a rehearsal has a log, predictions and outcomes of its own.
        registry: knows the FileSources of the project.
        query: the whole query.
        service: the version that is to be trained for.
        model: whose predictions and outcomes it may read, ``churn@3``; "" for none.
        what: what the rows are for, to begin messages.

    Raises:
        DataError: the query reads what there is not, or cannot be run.
        OfflineStoreError: predictions or outcomes cannot be read.
        MonitorError: a file of the serving log is damaged, or there is none.
    """
    tables: dict[str, Any] = {}
    if _reads(query, LOG):
        log = ServingLog(config)
        if not log.services(service.name):
            raise MonitorError(
                f'Nothing that was served of "{service.name}" was logged.',
                hint="Say where rows come from: RetrainingPolicy(entity_rows='SELECT ... FROM ...').",
            )
        tables[LOG] = log.select(service.name)
    folder, name = config.path(config.serving.feedback_path), model.partition("@")[0]
    if name and _reads(query, PREDICTIONS):
        tables[PREDICTIONS] = predictions(folder, name)
    if name and _reads(query, OUTCOMES):
        tables[OUTCOMES] = outcomes(folder, name, every=True)
    return OfflineStore(config, registry).queried(query, service, what, tables=tables)


def check_rows(
    config: Config,
    registry: Registry,
    query: str,
    service: FeatureService,
    *,
    model: str,
    timestamp_field: str,
    label: str,
) -> None:
    """Check that a request's query can be run, and gives what a dataset needs; no row of it is computed.

    Args:
        config: as for :func:`read_rows`.
        registry: the same.
        query: the whole query.
        service: the version that is to be trained for.
        model: whose predictions and outcomes it may read.
        timestamp_field: the column of the instants.
        label: the column that a model is to predict; "" for none.

    Raises:
        MonitorError: a column is missing.
        DataError: the query reads what there is not, or cannot be run.
    """
    what = f'the entity rows for "{service.name}"'
    none = f"SELECT * FROM (\n{query}\n) AS looked_at LIMIT 0"
    found = read_rows(config, registry, none, service, model=model, what=what).column_names
    needed = [*service.keys, *(one.name for one in service.request if one.default is None), timestamp_field]
    for name in [*needed, *([label] if label else [])]:
        if name not in found:
            raise MonitorError(
                f'The query of {what} has no column "{name}"; it has {", ".join(found[:10])}.',
                hint="Add it to entity_rows of the RetrainingPolicy.",
            )


def _reads(query: str, table: str) -> bool:
    # Opened for nothing where it is only a word of the query; what it reads is told by the query's own check.
    return table in query.casefold()


def _instant(instant: datetime) -> str:
    return f"TIMESTAMPTZ '{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"
