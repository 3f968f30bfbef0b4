"""A new version's history."""

from __future__ import annotations

import time

import pyarrow as pa

from featurestore.definitions import FeatureView, heritage, storage_id
from featurestore.offline import engine
from featurestore.offline.intake.ingest import IngestReport
from featurestore.offline.intake.loading import Loading
from featurestore.offline.tables import carry_over
from featurestore.offline.tables.arrivals import Arrivals, arrivals
from featurestore.registry.records import Load


class Carrying(Loading):
    """Rows of an older version, brought into the table of a newer one."""

    def missing_loads(self, old: FeatureView, new: FeatureView) -> list[Load]:
        """Return the loads of the older version's table that the newer one's does not have, in their order.

        These are the loads published after the newer one's last, as from then on only the older one was fed; and those
        before its first, if it took over nothing yet of what it may. But not what the older one took over from the
        newer, nor a piece of the source that the newer one has read itself.
        """
        if storage_id(old) == storage_id(new):
            return []
        lacking = carry_over.lacking(self.loads(old), self.loads(new), old, new)
        there = self.table(new).having([load.load_id for load in lacking])
        return [load for load in lacking if load.load_id not in there]

    def carry_over(self, old: FeatureView, new: FeatureView, *, who: str) -> IngestReport | None:
        """Bring the rows of an older version that a newer one lacks into its table, as one load.

        Args:
            old: the version that has the rows.
            new: the version that takes the fields which mean the same in both; the others are null in these rows.
            who: who loads.

        Returns:
            What became of the rows; None if there are none, or none that mean the same.

        Raises:
            OfflineStoreError: a table cannot be read, or the disk refuses.
        """
        started = time.monotonic()
        inherited = heritage(old, new)
        missing = self.missing_loads(old, new)
        if inherited.obstacle or not sum(load.rows_written for load in missing):
            return None
        files = self.table(old).files()
        query = carry_over.rows_to_carry(old, new, inherited, files, [load.order for load in missing])
        known = arrivals(self.table(old), missing)
        said = {one.load_id: one.carried for _, one in self.table(old).loads_since(None)}
        load_id = carry_over.load_id(old, missing[-1].order)
        with self._connect([old], f'Carrying over the rows of feature view "{old.name}"') as connection:
            columns = {
                "load__": pa.array([one.load.order for one in known], pa.int64()),
                "first__": pa.array([one.first for one in known], pa.int64()),
                carry_over.ARRIVED: pa.array([one.at for one in known], pa.int64()),
            }
            connection.register(carry_over.ARRIVALS, pa.table(columns))
            loaded, outcome = self._load(
                new,
                connection.sql(query).to_arrow_reader(engine.BATCH_ROWS),
                load_id,
                who,
                f"the rows of {storage_id(old)}",
                None,
                checked_as=carry_over.carrying_view(new, inherited),
                carried=carry_over.read_already(missing, inherited, said),
                arrivals=Arrivals(),
            )
        return IngestReport(
            view=new.name,
            loads=() if loaded is None else (loaded,),
            skipped=1 if loaded is None else 0,
            notes=outcome.notes,
            warned=outcome.warned,
            seconds=time.monotonic() - started,
        )
