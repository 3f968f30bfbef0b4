"""Features at an instant."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from featurestore import types
from featurestore.definitions import FeatureService, FeatureView, OnDemandFeatureView, SharedView, ViewProjection
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline.join.historical import HistoricalFeatures
from featurestore.store.drafting import Draft, Drafting, asked_for
from featurestore.store.sharing import Sharing

#: What features can be asked for by: a service, or parts of one.
Asked = (
    str
    | FeatureService
    | FeatureView
    | ViewProjection
    | OnDemandFeatureView
    | SharedView
    | Sequence[FeatureView | ViewProjection | OnDemandFeatureView | SharedView]
)


class Historical(Drafting, Sharing):
    """The point-in-time join."""

    def get_historical_features(
        self,
        entity_df: Any = None,
        features: Asked = (),
        *,
        timestamp_field: str = EVENT_TIMESTAMP,
        with_status: bool = False,
        full_feature_names: bool = False,
        as_of: datetime | str | None = None,
        known_at: Literal["row"] | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
    ) -> HistoricalFeatures:
        """Return features for each entity row, as they were at its instant.

        Args:
            entity_df: join keys, request fields and instants, one row each; other columns come back untouched. An Arrow
                table, a Polars or pandas frame, a list of dicts; the path of a .parquet or .csv file; or a query, a
                text that begins with SELECT or WITH, over the named FileSources of the project.
            features: the service: ``flight_delay`` (alias production, else the newest) or ``flight_delay@1``. Or
                definitions, applied or not: views, choices of their features, on-demand views, or a FeatureService,
                which stands for the registered version that it equals. What was never applied is a draft: it is
                joined all the same, from a table that has its rows or else from its source, and leaves nothing behind.
            timestamp_field: the column of the instants.
            with_status: also give ``<view>__status`` (1 PRESENT, 2 NOT_FOUND, 3 OUTSIDE_MAX_AGE) and
                ``<view>__event_timestamp``.
            full_feature_names: name every feature by its view too: ``weather__temp``.
            as_of: rows that were ingested later do not count; as if it had been asked for then.
            known_at: ``"row"``: a feature row counts from when it was known, and not from when it was true.
            start: without ``entity_df``, the first instant of a range of time: each row of the views in it, over all
                keys, is an entity row.
            end: the first instant after the range.

        Raises:
            ObjectNotFoundError: there is no such service.
            DefinitionError: definitions do not fit together.
            DataError: a column is missing or of another type, instants have no time zone, or a file, a query or the
                source of a draft cannot be read.
        """
        service, said = asked_for(self.registry, features)
        definition = service.definition
        instant = None if as_of is None else types.utc(as_of, "as_of")
        ranged = start is not None or end is not None
        given: Any = entity_df
        if not ranged or entity_df is not None:  # before the sources of a draft are read, which may take long
            given = self.offline.entity_table(
                definition, entity_df, timestamp_field=timestamp_field, start=start, end=end
            )
        drafts, read = self._draft_rows(definition) if isinstance(service, Draft) else (None, [])
        if drafts is not None and (instant is not None or known_at is not None):
            read.append("rows that were read for a draft count as ingested now, for as_of and known_at too")
        offline = drafts or self.offline
        try:
            if ranged:
                given = offline.entity_table(
                    definition, None, timestamp_field=timestamp_field, start=start, end=end, as_of=instant
                )
            found = offline.historical_features(
                service,
                given,
                timestamp_field=timestamp_field,
                with_status=with_status,
                full_feature_names=full_feature_names,
                as_of=instant,
                known_at=known_at,
                notes=(*said, *read),
            )
        except BaseException:
            if drafts is not None:
                drafts.discard()
            raise
        if drafts is not None:  # the rows may be wanted as long as the result is
            weakref.finalize(found, drafts.discard)
        return found
