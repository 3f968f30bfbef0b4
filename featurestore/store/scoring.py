"""Batches scored without a server: what a lookup would answer, for many keys at once, and the same log of it."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from featurestore import markup, types
from featurestore.definitions import FeatureService
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import InvalidRequestError
from featurestore.offline.join.entity_rows import check_entity_rows
from featurestore.offline.join.writing import write_rows
from featurestore.serving.batch import BatchLog, requests_of, sampled
from featurestore.serving.plan import compile_plan
from featurestore.store.drafting import Draft, asked_for
from featurestore.store.historical import Historical

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The column of the instants while the join runs; no field of a definition can be called so.
_AT = "scored_at__"


@dataclass(frozen=True, kw_only=True)
class BatchFeatures:
    """The features of a batch of keys, all at one instant, in the order of the keys.

    Attributes:
        table: the keys and request fields as they came, with any other columns; the features; and of each view
            ``<view>__status`` (1 PRESENT, 2 NOT_FOUND, 3 OUTSIDE_MAX_AGE) and ``<view>__event_timestamp``.
        service: what answered: ``flight_delay@1``.
        request_id: names the batch in the serving log. More rows than one request may have are logged as several, whose
            ids end in ``-0``, ``-1`` and so on.
        served_at: the instant.
        logged: rows that were written to the serving log: none, all, or a sample.
        notes: casts made, views that were never ingested, and instants of the keys' own, which do not count.
    """

    table: pa.Table
    service: str
    request_id: str
    served_at: datetime
    logged: int
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def _repr_html_(self) -> str:
        """What a notebook shows: what it is of, and no value of it."""
        rows: list[tuple[str, markup.Content]] = [
            ("rows", f"{len(self):,}"),
            ("instant", self.served_at.isoformat()),
            ("request", self.request_id),
            ("logged", f"{self.logged:,}"),
            ("columns", ", ".join(f"{one.name} ({one.type})" for one in self.table.schema)),
            ("notes", markup.listed(self.notes)),
        ]
        return markup.text_of(markup.table((), rows if self.notes else rows[:-1], caption=self.service))

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table."""
        return self.table

    def to_polars(self) -> pl.DataFrame:
        """Return a Polars frame."""
        import polars

        frame = polars.from_arrow(self.table)
        assert isinstance(frame, polars.DataFrame)  # noqa: S101 - a table never becomes a series
        return frame

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas frame; pandas must be installed."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def write(self, path: str | Path) -> Path:
        """Write one Parquet or CSV file, as its name ends, and return its path.

        Raises:
            DataError: the name ends in another way, or a CSV file is to hold a nested column.
            OfflineStoreError: the disk refuses.
        """
        target = Path(path)
        write_rows(iter([self.table]), self.table.schema, target, folders=False)
        return target


class Scoring(Historical):
    """Scores batches."""

    def get_batch_features(
        self,
        features: str | FeatureService,
        keys: Any,
        *,
        at: datetime | str | None = None,
        log: bool = True,
        request_id: str = "",
    ) -> BatchFeatures:
        """Return a service's features for many keys at one instant, as a server would answer then.

        Values, statuses and ages are those of the point-in-time join at that instant, so that nothing needs to be
        materialized; the rows go into the serving log as a server's do, sampled as configured, and the monitor sees
        them.

        Args:
            features: the service: ``flight_delay``, ``flight_delay@1``, or a FeatureService that is registered.
            keys: join keys and request fields, one row each; other columns come back untouched. As the ``entity_df``
                of :meth:`get_historical_features`, without instants.
            at: the instant; now when not given, by the clock of the rehearsal in a rehearsal.
            log: whether the rows go into the serving log.
            request_id: names the batch in the log; made up when empty.

        Raises:
            ObjectNotFoundError: there is no such service.
            DataError: a column is missing or of another type, or a file or query cannot be read.
            InvalidRequestError: the instant lies in the future, or what is not registered is to be logged.
            ServingError: the log cannot be written.
        """
        service, said = asked_for(self.registry, features)
        if isinstance(service, Draft):
            raise InvalidRequestError(
                f'"{service.name}" is a draft, which answers no requests.',
                hint="Apply it; or join it at an instant of your own: store.get_historical_features(...).",
            )
        plan = compile_plan(service)
        now = self._now()
        instant = now if at is None else types.utc(at, "at")
        if instant > now:
            raise InvalidRequestError(
                f"at={instant.isoformat()} lies in the future, and what will be true then is not known.",
                hint="Leave it out for now.",
            )
        given = self.offline.entity_table(service.definition, keys, timestamp_field=_AT)
        served_at = types.microseconds(instant)
        asked, instants = _at(given, served_at)
        typed = check_entity_rows(asked, service.definition, instants, with_status=True).typed
        request_id = request_id or uuid.uuid4().hex
        requests = requests_of(request_id, given.num_rows, self.config.serving.max_rows)
        logged = sampled(requests, self.config.serving.log_sample) if log else []
        folder = self.config.path(self.config.serving.log_path)
        with contextlib.ExitStack() as stack:
            # Before the rows are read: while this worker is at work, no window with its rows is judged.
            out = BatchLog(folder, at=served_at, replay=bool(self.config.replay)) if logged else None
            if out is not None:
                stack.enter_context(out)
            joined = self.offline.historical_features(
                service, asked, timestamp_field=instants, with_status=True, notes=said
            )
            table = joined.to_arrow()
            rows = 0 if out is None else out.write(plan, typed, table, logged)
        unheard = (
            f'all rows are of one instant, {instant.isoformat()}: column "{EVENT_TIMESTAMP}" does not count; '
            "get-historical joins each at its own"
        )
        late = (f"logged at {instant.isoformat()}: windows that the monitor has judged by now do not get the rows",)
        return BatchFeatures(
            table=table.drop_columns([instants]),
            service=service.id,
            request_id=request_id,
            served_at=instant,
            logged=rows,
            notes=(
                *joined.notes,
                *([unheard] if EVENT_TIMESTAMP in given.column_names else []),
                *(late if at is not None and rows else ()),
            ),
        )

    def _now(self) -> datetime:
        if not self.config.replay:
            return datetime.now(UTC)
        clock = self.online.clock()
        if clock is None:
            raise InvalidRequestError(
                f'The clock of rehearsal "{self.config.replay}" does not stand anywhere yet.',
                hint="Hold it first: featurestore serve --replay NAME --clock INSTANT",
            )
        return _EPOCH + timedelta(microseconds=clock)


def _at(given: pa.Table, instant: int) -> tuple[pa.Table, str]:
    """Return entity rows with a column of one instant, and its name, which none of theirs has."""
    name = _AT
    while name in given.column_names:
        name += "_"
    if not given.column_names:  # no rows, of which nobody said what columns they would have
        return given, name
    column = pa.repeat(pa.scalar(instant, pa.int64()), given.num_rows).cast(pa.timestamp("us", tz="UTC"))
    return given.append_column(name, column), name
