"""A load that is unlike those before it, kept aside as a whole until somebody says that its rows are right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.offline.intake.checks import REASON
from featurestore.offline.intake.quarantine import QuarantineFile, reading
from featurestore.storage import StoragePath
from featurestore.storage.parquet import parquet_file

#: How the reason begins of a row whose load was kept aside as a whole.
UNLIKE = "its load is unlike those before: "

_BATCH_ROWS = 65_536


def hold(staged: StoragePath, schema: pa.Schema, aside: QuarantineFile, anomalies: Sequence[str]) -> str:
    """Put the good rows of a load beside its bad ones, and return the reason that each of them has now.

    Args:
        staged: the file of the good rows, which is removed.
        schema: of rows as they are checked.
        aside: the bad rows of the load so far.
        anomalies: how it differs from those before.

    Raises:
        OfflineStoreError: the disk refuses.
    """
    reason = UNLIKE + "; ".join(anomalies)
    with reading(staged), parquet_file(staged) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=schema.names):
            rows = batch.select(schema.names).cast(schema)
            aside.write(rows.append_column(REASON, pa.repeat(pa.scalar(reason), rows.num_rows)))
    staged.unlink(missing_ok=True)
    return reason


def is_held(reasons: Iterable[str]) -> bool:
    """Return whether rows were kept aside for reasons of which one is that of a load as a whole."""
    return any(reason.startswith(UNLIKE) for reason in reasons)


def has_held(file: StoragePath) -> bool:
    """Return whether a quarantine file has rows of a load that was kept aside as a whole.

    Raises:
        OfflineStoreError: the file cannot be read.
    """
    with reading(file), parquet_file(file) as opened:
        batches = opened.iter_batches(batch_size=_BATCH_ROWS, columns=[REASON])
        return any(pc.any(pc.starts_with(batch.column(0), UNLIKE)).as_py() for batch in batches)


def how_to_accept(view: str, reasons: Mapping[str, int]) -> str:
    """Return what to do about rows of a report that were kept aside as a whole load; empty if there are none."""
    if not is_held(reasons):
        return ""
    return f"the rows are kept aside; if they are right: featurestore quarantine {view} --retry --accept-anomalies"
