"""The point-in-time join on Apache Spark: the rules, the answer and its order are those of the join in DuckDB."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore.definitions import Field, ViewProjection, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import OfflineStoreError
from featurestore.offline.join import order as join
from featurestore.offline.join.answering import result_schema
from featurestore.offline.join.computing import OUTSIDE_MAX_AGE, PRESENT, wanted_fields
from featurestore.offline.join.explanation import Explanation, UseExplanation
from featurestore.offline.join.question import Question
from featurestore.offline.join.visible_rows import Visible, knowable, ledger_of, visible
from featurestore.offline.spark.finishing import HOME, INSTANT, POSITION, Finishing, computing, unpacked
from featurestore.offline.spark.matching import Seen, met, ranked
from featurestore.offline.spark.reading import rows_of
from featurestore.offline.spark.session import failing, fetched, kept_on_disk, session
from featurestore.offline.spark.types import sent
from featurestore.settings.sections import SparkSettings
from featurestore.transforms import Transform

#: Rows of a partition of the answer: more, and few executors finish it; fewer, and each of them has little to do.
_PART_ROWS = 1 << 17
_READABLE = "All executors have to see the tables at the same paths: check where they lie, and whether a file is gone."


@dataclass(frozen=True)
class SparkEngine:
    """Joins in a session of Spark.

    Attributes:
        settings: the session.
    """

    settings: SparkSettings

    def __call__(self, question: Question, explain: Callable[[Explanation], None]) -> Iterator[pa.Table]:
        """Yield the answer's rows in order, part by part; see :class:`~featurestore.offline.join.engines.JoinEngine`.

        Raises:
            ConfigError: pyspark is missing, or executors have other packages than this process.
            OfflineStoreError: Spark cannot be had, or cannot read a table.
            DataError: an on-demand view cannot be computed for these values.
        """
        started = time.perf_counter()
        schema, total = result_schema(question), question.rows.typed.num_rows
        service = question.service
        transforms = {view.name: Transform(view) for view in service.on_demand_views}
        wanted = wanted_fields(service, transforms)
        seen = {use.name: _seen(question, use) for use in service.uses}
        counts = _Counts(question)
        joined = 0.0
        if total:
            spark = session(self.settings)
            with failing(f'The point-in-time join of "{question.label}" on Spark', _READABLE, self.settings):
                frame = self._frame(spark, question, transforms, wanted, seen)
                with kept_on_disk(frame) as kept:
                    joined = time.perf_counter() - started
                    for row in fetched(kept):
                        part = unpacked(row["rows"], row["fault"])
                        counts.add(part)
                        yield _as_asked(question, part, counts.rows - part.num_rows, schema)
            if counts.rows != total:
                raise OfflineStoreError(
                    f'Spark returned {counts.rows:,} of {total:,} entity rows of "{question.label}".',
                    hint="It gives each back once; report this.",
                )
        else:
            yield schema.empty_table()
        explain(
            Explanation(
                service=question.label,
                entity_rows=total,
                as_of=question.as_of,
                known_at=question.known_at,
                uses=tuple(_explained(question, use, wanted, seen, counts, joined) for use in service.uses),
                seconds=time.perf_counter() - started,
            )
        )

    def _frame(
        self,
        spark: Any,
        question: Question,
        transforms: Mapping[str, Transform],
        wanted: Mapping[str, Sequence[Field]],
        seen: Mapping[str, Visible | None],
    ) -> Any:
        """Return the frame of the answer, partition by partition in order."""
        service, typed = question.service, question.rows.typed
        dtypes = {**service.keys, **{one.name: one.dtype for one in service.request}}
        computed_from = {name for transform in transforms.values() for name in transform.inputs}
        keyed = {column for use in service.uses for column in use.columns.values()}
        names = {column: f"c{place}" for place, column in enumerate(dtypes) if column in keyed | computed_from}
        positions = np.arange(typed.num_rows)
        columns = {name: sent(typed.column(column), dtypes[column]) for column, name in names.items()}
        columns[POSITION], columns["part"] = pa.array(positions), pa.array((positions // _PART_ROWS).astype(np.int32))
        columns[INSTANT] = typed.column(EVENT_TIMESTAMP).cast(pa.int64())
        frame = spark.createDataFrame(pa.table(columns))
        prefixes = {}
        for number, use in enumerate(service.uses):
            there = seen[use.name]
            if there is None or not there.files:
                continue
            what = Seen(
                view=use.view,
                loads=ledger_of(use.view, question.ledger),
                as_of=question.as_of,
                known_at=question.known_at,
            )
            features = [f"f{place}" for place in range(len(wanted[use.name]))]
            where = f"event BETWEEN {there.first} AND {there.last}"
            rows = ranked(spark, rows_of(spark, use.view, there.files, wanted[use.name], where), what, features)
            keys = [names[use.columns[key]] for key in use.view.keys]
            prefixes[use.name] = f"u{number}_"
            frame = met(spark, frame, rows, what, keys=keys, features=features, called=prefixes[use.name])
        finishing = Finishing(
            service=service,
            typed={column: (name, dtypes[column]) for column, name in names.items() if column in computed_from},
            wanted=wanted,
            prefixes=prefixes,
            libraries=computing(),
        )
        parts = int(positions[-1] // _PART_ROWS) + 1
        return frame.repartitionById(parts, frame["part"]).sortWithinPartitions(POSITION).mapInArrow(finishing, HOME)


class _Counts:
    """How many rows came, and of each use how many counted."""

    def __init__(self, question: Question) -> None:
        self._uses = [use.name for use in question.service.uses]
        self.rows = 0
        self.present, self.outside = dict.fromkeys(self._uses, 0), dict.fromkeys(self._uses, 0)

    def add(self, part: pa.Table) -> None:
        first = self.rows
        self.rows += part.num_rows
        if not np.array_equal(part.column(POSITION).to_numpy(), np.arange(first, self.rows)):
            raise OfflineStoreError("Spark returned entity rows out of order.", hint="Report this.")
        for number, name in enumerate(self._uses):
            status = part.column(f"status{number}").to_numpy()
            self.present[name] += int(np.count_nonzero(status == PRESENT))
            self.outside[name] += int(np.count_nonzero(status == OUTSIDE_MAX_AGE))


def _seen(question: Question, use: ViewProjection) -> Visible | None:
    view, snapshot = use.view, question.tables[use.view.name]
    if snapshot is None:
        return None
    instants = question.rows.typed.column(EVENT_TIMESTAMP).cast(pa.int64()).to_numpy()
    wanted = knowable(instants, view, question.known_at)
    loads = ledger_of(view, question.ledger)
    try:
        return visible(view, snapshot, loads, wanted, as_of=question.as_of, past_ttl=question.with_status)
    except (OSError, pa.ArrowException) as error:
        raise join.unreadable(view, error) from error


def _as_asked(question: Question, part: pa.Table, first: int, schema: pa.Schema) -> pa.Table:
    columns = [*question.rows.given.slice(first, part.num_rows).columns]
    columns += [part.column(name) for name in part.column_names if name.startswith("out")]
    if question.with_status:
        for number in range(len(question.service.uses)):
            columns += [part.column(f"status{number}"), part.column(f"event{number}").cast(pa.timestamp("us", "UTC"))]
    return pa.table(columns, schema=schema)


def _explained(
    question: Question,
    use: ViewProjection,
    wanted: Mapping[str, Sequence[Field]],
    seen: Mapping[str, Visible | None],
    counts: _Counts,
    seconds: float,
) -> UseExplanation:
    snapshot, there = question.tables[use.view.name], seen[use.name]
    files = there.files if there is not None and question.rows.typed.num_rows else ()
    return UseExplanation(
        name=use.name,
        view=use.view.name,
        storage_id=storage_id(use.view),
        table_version=None if snapshot is None else snapshot.version,
        files_read=tuple(file.name for file in files),
        files_skipped=there.skipped if there is not None else (),
        rows_read=sum(file.rows for file in files),
        passes=1 if files else 0,
        ties_checked=bool(files),
        present=counts.present[use.name],
        outside_max_age=counts.outside[use.name] * question.with_status,
        features=len(wanted[use.name]),
        seconds={"join of all views": seconds},
    )
