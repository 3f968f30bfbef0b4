"""The offline store: ingest, reads for materialization, and features at an instant."""

from __future__ import annotations

from featurestore.offline.carrying import Carrying
from featurestore.offline.datasets import Datasets
from featurestore.offline.loading import Progress
from featurestore.offline.rows import Rows

__all__ = ["OfflineStore", "Progress"]


class OfflineStore(Carrying, Rows, Datasets):
    """Tables of feature rows, one for each storage id, below ``offline.path``; what can be done with them is inherited.

    Each parent is one concern: :class:`~featurestore.offline.loading.Loading` brings rows in,
    :class:`~featurestore.offline.carrying.Carrying` brings a new version's history,
    :class:`~featurestore.offline.rows.Rows` reads for the online store, and
    :class:`~featurestore.offline.datasets.Datasets` and :class:`~featurestore.offline.joining.Joining` join.
    """
