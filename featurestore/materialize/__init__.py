"""Offline to online: the newest row of each key, encoded once as it will be served."""

from __future__ import annotations

from featurestore.materialize.encoding import EncodedBatch, RowEncoder, encoded_batches
from featurestore.materialize.partitions import PartitionedRows
from featurestore.materialize.reading import OfflineReader, OfflineTables
from featurestore.materialize.report import MaterializeReport, Mode
from featurestore.materialize.running import Progress, Waiting, materialize
from featurestore.materialize.standing import rows_left_out

__all__ = [
    "EncodedBatch",
    "MaterializeReport",
    "Mode",
    "OfflineReader",
    "OfflineTables",
    "PartitionedRows",
    "Progress",
    "RowEncoder",
    "Waiting",
    "encoded_batches",
    "materialize",
    "rows_left_out",
]
