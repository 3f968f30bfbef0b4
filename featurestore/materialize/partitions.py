"""Materialization where the rows are: executors encode the newest rows and write them, partition by partition.

A row is written unless its key has one as new or newer, so the order of partitions does not matter, nor that a task
that failed is done again. Whoever runs it notes at the end how far the view is materialized, and what was killed before
is done again from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import ConfigError
from featurestore.materialize.encoding import RowEncoder
from featurestore.offline.spark.newest import Looked, Work
from featurestore.offline.tables.newest import Chunk, Wanted
from featurestore.online.base import OnlineStore, Written


class OfflinePartitions(Protocol):
    """Tables whose rows executors read."""

    def executors_are_here(self) -> bool:
        """Return whether all executors run on this machine for certain."""
        ...

    def by_partition(self, view: FeatureView, wanted: Wanted, work: Work) -> Looked:
        """Find of each key the newest row among some rows of the view's table, and have executors work on them."""
        ...


@dataclass(frozen=True, kw_only=True)
class PartitionedRows:
    """Brings the newest rows of a view online by executors.

    Attributes:
        offline: where rows come from.
        open_store: opens the online store; it goes to the executors.
        reach: from where that can be done.
    """

    offline: OfflinePartitions
    open_store: Callable[[], OnlineStore]
    reach: Literal["process", "host", "network"]

    def __call__(self, view: FeatureView, wanted: Wanted) -> Looked:
        """Write the newest of the wanted rows; ``told`` has written, older and rejected ones.

        Raises:
            ConfigError: executors cannot reach the online store.
            OfflineStoreError: the rows cannot be read.
            OnlineStoreError: they cannot be written.
        """
        if self.reach == "process" or (self.reach == "host" and not self.offline.executors_are_here()):
            where = "in this process" if self.reach == "process" else "on this machine"
            raise ConfigError(
                f'Feature view "{view.name}" cannot be materialized by Spark: its online store is {where} alone, and '
                "executors that run elsewhere cannot write into it.",
                hint="Put the online store on Redis or Valkey, or materialize with another setting: "
                'engine = "duckdb" under [offline].',
            )
        return self.offline.by_partition(view, wanted, PartitionWriter(view=view, open_store=self.open_store))


@dataclass(frozen=True, kw_only=True)
class PartitionWriter:
    """Encodes the rows of a partition and writes them; it goes to the executors.

    Attributes:
        view: whose rows.
        open_store: opens the online store.
    """

    view: FeatureView
    open_store: Callable[[], OnlineStore]

    def __call__(self, chunks: Iterator[Chunk]) -> Mapping[str, int]:
        """Write the rows, chunk by chunk, and return how many were written, older than those online, and rejected."""
        encode, name = RowEncoder(self.view), storage_id(self.view)
        store: OnlineStore | None = None
        counts, rejected = Written(0, 0), 0
        try:
            for rows, passed in chunks:
                if store is None:
                    store = self.open_store()
                kept = [row for row in encode(rows).rows if row is not None]
                rejected += passed - len(kept)
                done = store.put_newest(name, kept)
                counts = Written(counts.written + done.written, counts.older + done.older)
        finally:
            if store is not None:
                store.close()
        return {"written": counts.written, "older": counts.older, "rejected": rejected}
