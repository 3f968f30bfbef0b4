"""A throw-away store, and the rows that a case gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.config import FILE_NAME
from featurestore.definitions import FeatureService, FeatureView, FileSource, SqlSource
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from featurestore.errors import DefinitionError, closest
from featurestore.offline.intake.frames import to_table
from featurestore.store import FeatureStore
from featurestore.testing.cases import FeatureCase, Rows
from featurestore.testing.comparing import Mismatch, instant

#: A case may be of any instant, tomorrow's too: 7,000 years.
_ANY_FUTURE_SECONDS = 7_000 * 31_556_952


def _views(target: FeatureService | FeatureView) -> tuple[FeatureView, ...]:
    return (target,) if isinstance(target, FeatureView) else target.views


def _sources(views: tuple[FeatureView, ...]) -> dict[str, FileSource]:
    """Return the named sources that SQL over them makes rows of, by name."""
    queries = [view.source for view in views if isinstance(view.source, SqlSource)]
    return {source.name: source for query in queries for source in query.sources}


@contextmanager
def throw_away(folder: Path, case: FeatureCase, target: FeatureService | FeatureView) -> Iterator[FeatureStore]:
    """Yield a new store in a folder, whose named sources are the rows that the case gives.

    Raises:
        DefinitionError: rows are given for what the target does not read.
    """
    views = _views(target)
    sources = _sources(views)
    known = [*(view.name for view in views), *sources]
    for name in (*case.given, *case.quarantined):
        if name not in known:
            raise DefinitionError(f'"{case.target}" reads no view or source "{name}".', hint=closest(str(name), known))
    settings = [
        'project = "case"',
        'online = "memory://"',
        "[offline]",
        f"max_future_seconds = {_ANY_FUTURE_SECONDS}",
    ]
    for name, source in sources.items():
        if name in case.given:
            file = folder / "given" / f"{len(settings)}.parquet"
            file.parent.mkdir(exist_ok=True)
            pq.write_table(_source_rows(case.given[name], source), file)
            settings += [f"[sources.{json.dumps(name)}]", f"path = {json.dumps(str(file))}"]
    (folder / FILE_NAME).write_text("\n".join(settings), encoding="utf-8")
    with FeatureStore(folder) as store:
        yield store


def put_given(store: FeatureStore, case: FeatureCase, target: FeatureService | FeatureView) -> Iterator[Mismatch]:
    """Ingest what the case gives, and yield where other rows are kept aside than it says.

    Raises:
        DefinitionError: a source of a view's query is not given.
        DataError: rows cannot be taken.
    """
    for view in _views(target):
        wanted = _sources((view,))
        if view.name in case.given:
            report = store.ingest(view.name, _view_rows(case.given[view.name], view))
        elif any(name in case.given for name in wanted):
            missing = [name for name in wanted if name not in case.given]
            if missing:
                raise DefinitionError(
                    f'Feature view "{view.name}" also reads the source "{missing[0]}", which the case does not give.',
                    hint=f'Give it too: given={{"{missing[0]}": [...]}}.',
                )
            report = store.ingest(view.name)
        else:
            continue
        aside, expected = sum(report.reasons.values()), case.quarantined.get(view.name, 0)
        if aside != expected:
            reasons = ", ".join(f"{count} where {reason}" for reason, count in report.reasons.items())
            yield Mismatch(
                path="given",
                row=f'rows of "{view.name}"',
                feature="quarantined",
                expected=str(expected),
                got=f"{aside} ({reasons})" if reasons else str(aside),
            )


def rows_of_view(store: FeatureStore, view: FeatureView) -> list[dict[str, Any]]:
    """Return the rows that a view has now, with their instants under the name that its source gives them."""
    found = store.offline.rows_by_event_time(view, after=None).read_all().to_pylist()
    return [row | {view.timestamp_field: row[EVENT_TIMESTAMP]} for row in found]


def _view_rows(rows: Rows, view: FeatureView) -> pa.Table:
    """Return rows as the view's source would bring them; features and created times may be left out."""
    types = {key: dtype.to_arrow() for key, dtype in view.keys.items()}
    types |= {one.name: one.dtype.to_arrow() for one in view.schema}
    moment = pa.timestamp("us", tz="UTC")
    types.setdefault(view.timestamp_field, moment)
    created = view.created_timestamp_column
    if created is not None and (view.source is not None or any(CREATED_TIMESTAMP in row for row in rows)):
        types.setdefault(created, moment)
    for row in rows:
        for name in row:
            if name not in types:
                raise DefinitionError(f'Feature view "{view.name}" has no column "{name}".', hint=closest(name, types))
    columns = {
        name: [instant(row.get(name)) if pa.types.is_timestamp(dtype) else row.get(name) for row in rows]
        for name, dtype in types.items()
    }
    arrays = {}
    for name, values in columns.items():
        for value in values:
            # Arrow would take it as one of UTC, where an ingest refuses it.
            if isinstance(value, datetime) and value.tzinfo is None:
                raise DefinitionError(
                    f'The given rows of "{view.name}" have {name}={value.isoformat()}, which names no time zone.',
                    hint=f'Write it: "{value.isoformat()}Z".',
                )
        try:
            arrays[name] = pa.array(values, types[name])
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise DefinitionError(
                f'The given rows of "{view.name}" have in "{name}" what is no {types[name]}: {error}.'
            ) from error
    return pa.table(arrays)


def _source_rows(rows: Rows, source: FileSource) -> pa.Table:
    moments = (source.timestamp_field, source.created_timestamp_column)
    read: list[Mapping[str, Any]] = [
        {name: instant(value) if name in moments else value for name, value in row.items()} for row in rows
    ]
    names = list(dict.fromkeys(name for row in read for name in row))
    return to_table([{name: row.get(name) for name in names} for row in read], f'the given rows of "{source.name}"')
