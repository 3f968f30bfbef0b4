"""The point-in-time join: for each entity row, what was true at its instant and not a microsecond later.

One use of a view at a time. For an entity row at t the newest feature row with event time in [t - ttl, t] counts. First
:mod:`~featurestore.offline.join.matching` finds which row that is, and reads nothing but keys and event times; then
:mod:`~featurestore.offline.join.gathering` reads the features of just these rows. Entity rows come back all, once, in
order: they are known by position, never by their values. Results come part by part, so memory does not grow with their
width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import duckdb
import numpy as np
import pyarrow as pa

from featurestore.definitions import Field, ViewProjection, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline import engine
from featurestore.offline.join import order as join
from featurestore.offline.join.computing import OUTSIDE_MAX_AGE, PRESENT, computed, filled, wanted_fields
from featurestore.offline.join.entity_rows import feature_columns
from featurestore.offline.join.explanation import Explanation, UseExplanation
from featurestore.offline.join.gathering import Gathered, gather
from featurestore.offline.join.matching import Matches, match
from featurestore.offline.join.question import Question
from featurestore.transforms import Transform
from featurestore.types import Bytes, DType, String

# A part holds so many bytes, about, and so many rows at most.
_PART_BYTES, _PART_ROWS = 1 << 26, 1 << 20
# A text or a list may be long: 32 times this, and the values of a part still fit into one Arrow column, of 2 GiB.
_LONG_BYTES = 1 << 10
_INSTANT = pa.timestamp("us", tz="UTC")


def result_schema(question: Question) -> pa.Schema:
    """Return the columns of the answer: those of the entity rows as they came, then the features, then statuses."""
    schema = question.rows.given.schema
    names = feature_columns(question.service, full=question.full_feature_names)
    for owner, fields in question.service.outputs.items():
        for one in fields:
            schema = schema.append(pa.field(names[owner, one.name], one.dtype.to_arrow()))
    if question.with_status:
        for use in question.service.uses:
            schema = schema.append(pa.field(join.status_column(use), pa.int8()))
            schema = schema.append(pa.field(join.event_column(use), _INSTANT))
    return schema.remove_metadata()


def answer(question: Question, explain: Callable[[Explanation], None]) -> Iterator[pa.Table]:
    """Yield the answer's rows in order, part by part; there is always one, perhaps empty.

    Args:
        question: what is asked.
        explain: is told what was done, once all is.

    Raises:
        OfflineStoreError: a file of a table is gone or damaged, or memory and disk are full.
        DataError: an on-demand view cannot be computed for these values.
    """
    service, rows = question.service, question.rows
    transforms = {view.name: Transform(view) for view in service.on_demand_views}
    wanted = wanted_fields(service, transforms)
    part_rows = _part_rows([one.dtype for fields in wanted.values() for one in fields])
    total = rows.typed.num_rows
    told: list[UseExplanation] = []
    busy = 0.0
    with ExitStack() as stack:
        answers: dict[str, tuple[Matches, Gathered]] = {}
        for use in service.uses:
            started = time.perf_counter()
            matches, gathered, said = _joined(question, use, wanted[use.name], part_rows, stack)
            answers[use.name] = (matches, gathered)
            told.append(said)
            busy += time.perf_counter() - started
        for part in range(max(1, -(-total // part_rows))):
            started = time.perf_counter()
            first, last = part * part_rows, min(total, (part + 1) * part_rows)
            typed = rows.typed.slice(first, last - first)
            joined = {use.name: filled(answers[use.name][1].take(part), wanted[use.name]) for use in service.uses}
            made_up = {name: computed(transform, joined, typed) for name, transform in transforms.items()}
            columns = [*rows.given.slice(first, last - first).columns]
            for owner, fields in service.outputs.items():
                source = made_up[owner] if owner in made_up else joined[owner]
                columns += [source.column(one.feature) for one in fields]
            if question.with_status:
                for use in service.uses:
                    columns += _status(answers[use.name][0], first, last)
            made = pa.table(columns, schema=result_schema(question))
            del typed, joined, made_up, columns
            busy += time.perf_counter() - started
            yield made
    explain(
        Explanation(
            service=question.label,
            entity_rows=total,
            as_of=question.as_of,
            known_at=question.known_at,
            uses=tuple(told),
            seconds=busy,
        )
    )


def _part_rows(dtypes: Sequence[DType]) -> int:
    width = sum(max(16, *map(_bytes, dtype.parts())) for dtype in dtypes)
    return max(1 << 12, min(_PART_ROWS, _PART_BYTES // max(1, width)))


def _bytes(dtype: DType) -> int:
    varies = dtype in (String, Bytes) or (dtype.element is not None and not dtype.size)
    return _LONG_BYTES if varies else 4 * dtype.size + dtype.width


def _joined(
    question: Question, use: ViewProjection, fields: Sequence[Field], part_rows: int, stack: ExitStack
) -> tuple[Matches, Gathered, UseExplanation]:
    view, typed = use.view, question.rows.typed
    snapshot = question.tables[view.name]
    entities = pa.table({key: typed.column(column) for key, column in use.columns.items()})
    entities = entities.append_column(EVENT_TIMESTAMP, typed.column(EVENT_TIMESTAMP))
    what = f'The point-in-time join of "{question.label}"'
    started = time.perf_counter()
    with engine.connect(question.offline, question.spill, what) as connection:
        limit = engine.memory_limit(connection)
        try:
            matches = match(
                connection,
                view,
                snapshot,
                question.ledger,
                entities,
                as_of=question.as_of,
                known_at=question.known_at,
                past_ttl=question.with_status,
                threads=question.offline.threads,
            )
        except (duckdb.Error, OSError) as error:
            raise join.unreadable(view, error) from error
    matched = time.perf_counter()
    # A quarter for the values of all uses; the other uses' are there at the same time.
    budget = limit // 4 // len(question.service.uses)
    gathered = Gathered(fields, entities.num_rows, part_rows, budget=budget, folder=question.spill)
    stack.callback(gathered.close)
    if matches.visible is not None:
        places = np.where(matches.status == PRESENT, matches.places, -1)
        try:
            gather(gathered, matches.visible.files, fields, places, threads=question.offline.threads)
        except (OSError, pa.ArrowException) as error:
            raise join.unreadable(view, error) from error
    return (
        matches,
        gathered,
        UseExplanation(
            name=use.name,
            view=view.name,
            storage_id=storage_id(view),
            table_version=None if snapshot is None else snapshot.version,
            files_read=tuple(file.name for file in matches.visible.files) if matches.visible else (),
            files_skipped=matches.visible.skipped if matches.visible else (),
            rows_read=matches.rows_read,
            passes=matches.passes,
            ties_checked=matches.ties,
            present=int(np.count_nonzero(matches.status == PRESENT)),
            outside_max_age=int(np.count_nonzero(matches.status == OUTSIDE_MAX_AGE)) * question.with_status,
            features=len(fields),
            seconds={"match": matched - started, "gather": time.perf_counter() - matched},
        ),
    )


def _status(matches: Matches, first: int, last: int) -> list[pa.Array]:
    status, events = matches.status[first:last], matches.events[first:last]
    found = pa.array(events, pa.int64(), mask=matches.places[first:last] < 0)
    return [pa.array(status), found.cast(_INSTANT)]
