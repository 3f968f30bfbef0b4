"""What a join is asked: entity rows, a service, and the tables as they were when it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa

from featurestore.definitions import FeatureService
from featurestore.offline.join.entity_rows import EntityRows
from featurestore.offline.tables.snapshots import Snapshot
from featurestore.settings.sections import OfflineConfig

KnownAt = Literal["row"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """Features of a service for entity rows, checked; the answer does not change, whatever is ingested later.

    Attributes:
        service: what to join.
        label: the service version, for the result and for messages.
        rows: checked entity rows.
        tables: by the name of a view, the files of its table; None when nothing was ever ingested.
        ledger: the loads of all these tables: ``storage_id``, ``load_id``, ``load_order``, which orders ties, and
            ``published_at``, from when on their rows could be known.
        with_status: whether status and event time of every use of a view are asked for too.
        full_feature_names: whether every feature goes by its full name.
        as_of: rows ingested later are not seen; None sees all.
        known_at: ``row`` sees of each entity row only what could be known at its instant.
        offline: memory and threads.
        spill: the folder for what does not fit into memory.
    """

    service: FeatureService
    label: str
    rows: EntityRows
    tables: Mapping[str, Snapshot | None]
    ledger: pa.Table
    with_status: bool = False
    full_feature_names: bool = False
    as_of: datetime | None = None
    known_at: KnownAt | None = None
    offline: OfflineConfig
    spill: Path
