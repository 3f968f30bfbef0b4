"""Features at an instant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurestore.definitions import FeatureService
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline.entity_rows import EntityRows, check_entity_rows
from featurestore.offline.frames import to_table
from featurestore.offline.historical import HistoricalFeatures, features_at
from featurestore.offline.opened import Opened
from featurestore.registry.records import Registered


class Joining(Opened):
    """The point-in-time join of a service."""

    def historical_features(
        self,
        service: Registered[FeatureService],
        entity_df: Any,
        *,
        timestamp_field: str = EVENT_TIMESTAMP,
        with_status: bool = False,
    ) -> HistoricalFeatures:
        """Return the service's features for each entity row at its instant.

        Raises:
            SchemaError: a key or request field is missing or of another type.
            TimestampError: instants name no time zone.
        """
        given = to_table(entity_df, f'the entity rows for "{service.name}"')
        rows = check_entity_rows(given, service.definition, timestamp_field, with_status=with_status)
        features, _ = self._features(service, rows, with_status)
        return features

    def _features(
        self, service: Registered[FeatureService], rows: EntityRows, with_status: bool
    ) -> tuple[HistoricalFeatures, Mapping[str, int | None]]:
        definition = service.definition
        # Versions first, then the files of just these versions: what the manifest says is what was read.
        versions = {view.name: self.table_version(view) for view in definition.views}
        files = {
            view.name: [] if versions[view.name] is None else self.table(view).files(versions[view.name])
            for view in definition.views
        }
        with self._connect(list(definition.views), f'The point-in-time join of "{service.id}"') as connection:
            features = features_at(connection, definition, rows, files, label=service.id, with_status=with_status)
        return features, versions
