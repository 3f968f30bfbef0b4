"""The offline store: ingest, reads for materialization, and features at an instant."""

from __future__ import annotations

from featurestore.offline.datasets.differing import Comparing
from featurestore.offline.datasets.reproducing import Reproducing
from featurestore.offline.intake.backfilling import Backfilling
from featurestore.offline.intake.loading import Progress
from featurestore.offline.intake.pushed import Pushed
from featurestore.offline.intake.quarantined import Quarantined
from featurestore.offline.join.asking import Asking
from featurestore.offline.spark.partitions import Partitions
from featurestore.offline.tables.carrying import Carrying
from featurestore.offline.tables.collecting import Collecting
from featurestore.offline.tables.compacting import Compacting
from featurestore.offline.tables.load_rows import LoadRows
from featurestore.offline.tables.rows import Rows
from featurestore.offline.tables.withdrawing import Withdrawing

__all__ = ["OfflineStore", "Progress"]


class OfflineStore(
    Backfilling,
    Carrying,
    Quarantined,
    Pushed,
    Rows,
    Partitions,
    Reproducing,
    Comparing,
    Asking,
    Compacting,
    Withdrawing,
    LoadRows,
    Collecting,
):
    """Tables of feature rows, one for each storage id, below ``offline.path``; what can be done with them is inherited.

    Each parent is one concern: :class:`~featurestore.offline.intake.loading.Loading` brings rows in,
    :class:`~featurestore.offline.intake.quarantined.Quarantined` tries those again that were kept aside,
    :class:`~featurestore.offline.intake.pushed.Pushed` brings those in that were pushed,
    :class:`~featurestore.offline.tables.carrying.Carrying` brings a new version's history,
    :class:`~featurestore.offline.intake.backfilling.Backfilling` computes an interval anew,
    :class:`~featurestore.offline.tables.rows.Rows` reads for the online store,
    :class:`~featurestore.offline.spark.partitions.Partitions` has rows worked on where they are read,
    :class:`~featurestore.offline.join.asking.Asking` takes entity rows as users have them,
    :class:`~featurestore.offline.tables.compacting.Compacting` merges files,
    :class:`~featurestore.offline.tables.restoring.Restoring` takes rows back,
    :class:`~featurestore.offline.tables.withdrawing.Withdrawing` takes single loads back,
    :class:`~featurestore.offline.tables.load_rows.LoadRows` says what one load brought,
    :class:`~featurestore.offline.tables.collecting.Collecting` removes what nobody needs,
    :class:`~featurestore.offline.join.joining.Joining` joins,
    :class:`~featurestore.offline.datasets.making.Datasets` keeps the result, and
    :class:`~featurestore.offline.datasets.reproducing.Reproducing` makes it again.
    """
