"""Features at an instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from featurestore.definitions import FeatureService, FeatureView
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import DataError
from featurestore.offline.intake.frames import to_table
from featurestore.offline.join.engines import join_engine
from featurestore.offline.join.entity_rows import EntityRows, check_entity_rows
from featurestore.offline.join.historical import HistoricalFeatures
from featurestore.offline.join.question import KnownAt, Question
from featurestore.offline.opened import Opened
from featurestore.offline.places import spill_folder
from featurestore.offline.tables.arrivals import arrivals
from featurestore.offline.tables.snapshots import Snapshot
from featurestore.registry.records import Registered
from featurestore.types import utc


class Joining(Opened):
    """The point-in-time join of a service."""

    def historical_features(
        self,
        service: Registered[FeatureService],
        entity_df: Any,
        *,
        timestamp_field: str = EVENT_TIMESTAMP,
        with_status: bool = False,
        full_feature_names: bool = False,
        as_of: datetime | str | None = None,
        known_at: str | None = None,
        notes: Sequence[str] = (),
    ) -> HistoricalFeatures:
        """Return the service's features for each entity row at its instant.

        Inputs are checked, and what is read is settled, at once; the join runs when a result is asked for.

        Args:
            service: what is joined.
            entity_df: a frame.
            timestamp_field: the column of the instants.
            with_status: also give statuses and event times.
            full_feature_names: name every feature by its view too, ``weather__temp``.
            as_of: rows ingested after this instant are not seen.
            known_at: ``row`` sees of each entity row only what could be known at its instant: event time and the view's
                ``delay``; where it declares none, ``created_timestamp``; where a row has none, when it was ingested.
            notes: what the caller has to say of how the rows came about; they come before those of the join.

        Raises:
            SchemaError: a key or request field is missing or of another type.
            TimestampError: instants name no time zone.
            DataError: ``known_at`` is neither ``row`` nor None.
            OfflineStoreError: a table cannot be opened.
        """
        instant = None if as_of is None else utc(as_of, "as_of")
        given = to_table(entity_df, f'the entity rows for "{service.name}"')
        rows = check_entity_rows(
            given,
            service.definition,
            timestamp_field,
            with_status=with_status,
            full_feature_names=full_feature_names,
        )
        rows = replace(rows, notes=(*notes, *rows.notes))
        read = {view.name: self._newest(view) for view in service.definition.views}
        ledger = self._ledger(service.definition, read)
        return self._asked(
            service,
            rows,
            read,
            ledger,
            with_status=with_status,
            full_feature_names=full_feature_names,
            as_of=instant,
            known_at=known_at,
        )

    def _newest(self, view: FeatureView) -> Snapshot | None:
        """Return the files of the view's table as it is now; None when nothing was ever ingested."""
        table = self.table(view)
        return table.snapshot() if table.exists() else None

    def _ledger(self, service: FeatureService, read: Mapping[str, Snapshot | None]) -> pa.Table:
        """Return the loads of what is read: with them the join breaks ties, and knows what was available when.

        To be asked for after the files, so that every load which these hold is in the ledger by now.
        """
        runs = []
        for view in service.views:
            snapshot = read[view.name]
            if snapshot is not None:
                there = [one for one in self.ledger(view) if one.table_version <= snapshot.version]
                runs += arrivals(self.table(view), there)
        return pa.table(
            {
                "storage_id": pa.array([one.load.storage_id for one in runs], pa.string()),
                "load_id": pa.array([one.load.load_id for one in runs], pa.string()),
                "load_order": pa.array([one.load.order for one in runs], pa.int64()),
                "first_row": pa.array([one.first for one in runs], pa.int64()),
                "published_at": pa.array([one.at for one in runs], pa.int64()).cast(pa.timestamp("us", "UTC")),
            }
        )

    def _asked(
        self,
        service: Registered[FeatureService],
        rows: EntityRows,
        read: Mapping[str, Snapshot | None],
        ledger: pa.Table,
        *,
        with_status: bool = False,
        full_feature_names: bool = False,
        as_of: datetime | None = None,
        known_at: str | None = None,
    ) -> HistoricalFeatures:
        """Return what a join of these files will give."""
        return HistoricalFeatures(
            Question(
                service=service.definition,
                label=service.id,
                rows=rows,
                tables=read,
                ledger=ledger,
                with_status=with_status,
                full_feature_names=full_feature_names,
                as_of=as_of,
                known_at=_known_at(known_at),
                offline=self._config.offline,
                spill=spill_folder(self._config),
            ),
            join_engine(self._config),
        )


def _known_at(value: Any) -> KnownAt | None:
    if value not in (None, "row"):
        raise DataError(
            f"known_at={value!r} says nothing that a join knows.",
            hint='Write known_at="row" for what could be known at the instant of each row, or leave it out.',
        )
    known: KnownAt | None = value
    return known
