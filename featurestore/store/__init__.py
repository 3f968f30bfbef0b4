"""The feature store as a user holds it: one object over registry, offline and online store."""

from __future__ import annotations

from typing import Any

from featurestore.status import status
from featurestore.store.auditing import Auditing
from featurestore.store.backfilling import Backfilling
from featurestore.store.clients import Clients
from featurestore.store.datasets import Datasets
from featurestore.store.definitions import Definitions
from featurestore.store.erasing import Erasing
from featurestore.store.rollout import Rollout
from featurestore.store.scoring import Scoring
from featurestore.store.streaming import Streaming
from featurestore.store.tables import Tables

__all__ = ["FeatureStore"]


class FeatureStore(Backfilling, Rollout, Definitions, Tables, Streaming, Scoring, Datasets, Auditing, Erasing, Clients):
    """A folder with ``featurestore.toml``, and what it configures.

    Args:
        path: the folder.
        replay: the name of a rehearsal whose online store, log and monitor are meant instead of the live ones.

    Raises:
        ConfigError: the folder has no ``featurestore.toml``, it is wrong, or there is no such rehearsal.
    """

    def status(self) -> dict[str, Any]:
        """Return what is registered, stored and served, as JSON values.

        An online store that cannot be read is said to be so, under ``online``, with null for what only it knows.
        """
        return status(self.config, self.registry, self.offline, lambda: self.online)
