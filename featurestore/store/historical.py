"""Features at an instant."""

from __future__ import annotations

from typing import Any

from featurestore.definitions import FeatureService
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline.historical import HistoricalFeatures
from featurestore.store.references import service_name
from featurestore.store.sharing import Sharing


class Historical(Sharing):
    """The point-in-time join."""

    def get_historical_features(
        self,
        entity_df: Any,
        features: str | FeatureService,
        *,
        timestamp_field: str = EVENT_TIMESTAMP,
        with_status: bool = False,
    ) -> HistoricalFeatures:
        """Return a service's features for each entity row, as they were at its instant.

        Args:
            entity_df: join keys, request fields and instants, one row each; other columns come back untouched.
            features: the service: ``flight_delay`` (alias production, else the newest) or ``flight_delay@1``; a
                FeatureService stands for its name.
            timestamp_field: the column of the instants.
            with_status: also give ``<view>__status`` (1 PRESENT, 2 NOT_FOUND, 3 OUTSIDE_MAX_AGE) and
                ``<view>__event_timestamp``.

        Raises:
            ObjectNotFoundError: there is no such service.
            DataError: a column is missing or of another type, or instants have no time zone.
        """
        service = self.registry.resolve_service(service_name(features))
        return self.offline.historical_features(
            service, entity_df, timestamp_field=timestamp_field, with_status=with_status
        )
