"""A new version's history."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, groupby

import pyarrow as pa

from featurestore.definitions import FeatureView, Heritage, heritage, storage_id
from featurestore.errors import TableConflictError
from featurestore.offline import engine, load_ids
from featurestore.offline.intake.ingest import IngestReport, Outcome
from featurestore.offline.intake.loading import Loading
from featurestore.offline.intake.pushed import PUSHED
from featurestore.offline.tables import carry_over
from featurestore.offline.tables.arrivals import arrivals
from featurestore.offline.tables.delta_log import Commit
from featurestore.offline.tables.provenance import Origin, Origins, Provenance, origins, stretches
from featurestore.offline.tables.table import OptimisticTable
from featurestore.registry.records import Load

#: How often rows are carried over that came otherwise meanwhile, the whole load or some of it.
_ATTEMPTS = 10


class Carrying(Loading):
    """Rows of an older version, brought into the table of a newer one."""

    def missing_loads(self, old: FeatureView, new: FeatureView) -> list[Load]:
        """Return the loads of the older version's table that the newer one's does not have, in their order.

        These are the loads published when only the older one was fed: after the newer one's last, and those before its
        first, if it may take over what there was. But not what the newer one has already, as a load of its own or among
        rows that it took over from any version: of a load that is there in part, ``rows_written`` counts the rest.
        """
        missing, _ = self._missing(old, new, set())
        return [
            dataclasses.replace(parts[0].load, rows_written=sum(one.rows for one in parts))
            for _, parts in _by_order(missing)
        ]

    def carry_over(
        self, old: FeatureView, new: FeatureView, *, who: str, since: int | None = None
    ) -> IngestReport | None:
        """Bring the rows of an older version that a newer one lacks into its table, as one load.

        A load that comes into the newer table meanwhile by itself is not carried over, and one that is carried over
        does not come by itself any more; unless it has more to say than the carried rows, which then give way to it.

        Args:
            old: the version that has the rows.
            new: the version that takes the fields which mean the same in both; the others are null in these rows.
            who: who loads.
            since: an order of the older version's loads: those after it are lacking if their ids are not there, though
                the newer version may have been fed since.

        Returns:
            What became of the rows; None if there are none, or none that mean the same.

        Raises:
            TableConflictError: rows came into the table otherwise each time that they were brought.
            OfflineStoreError: a table cannot be read, or the disk refuses.
        """
        started = time.monotonic()
        inherited = heritage(old, new)
        eligible: set[int] = set()
        for _ in range(_ATTEMPTS):
            before, version = self.table(old).version(), self.table(new).version()
            missing, found = self._missing(old, new, eligible, since, before)
            if before is None or inherited.obstacle or not sum(one.rows for one in missing):
                return None
            if any(_takes_loads(commit) for commit in self.table(old).commits(before)):
                continue  # what is missing are the loads of another state of the table than the rows would be
            try:
                loaded, outcome = self._carried(old, new, inherited, missing, found, (before, version), who)
            except TableConflictError:
                continue
            if loaded is not None:
                return IngestReport(
                    view=new.name,
                    loads=(loaded,),
                    skipped=0,
                    notes=outcome.notes,
                    warned=outcome.warned,
                    seconds=time.monotonic() - started,
                )
        raise TableConflictError(
            f'The rows of feature view "{old.name}" came into the table {storage_id(new)} otherwise each time that '
            "they were carried over.",
            hint="Nothing is lost; do it again when fewer loads come in.",
        )

    def _missing(
        self,
        old: FeatureView,
        new: FeatureView,
        eligible: set[int],
        since: int | None = None,
        version: int | None = None,
    ) -> tuple[list[Origin], list[Origins]]:
        """Return the rows that the newer version's table lacks, by their origins, and all of the loads that have any.

        Args:
            old: the older version.
            new: the newer one.
            eligible: orders of loads that were found to have come when the newer one was not fed, also if it was since;
                those that are found now are added.
            since: an order after which all are.
            version: the older version's table as of which the rows are; None for what it is.
        """
        if storage_id(old) == storage_id(new):
            return [], []
        theirs = [one for one in self.loads(old) if version is None or one.table_version <= version]
        ledger = self.ledger(new)
        have = [one for one in ledger if one.withdrawn_at is None]
        here = origins(self.table(new), have)
        traced = {one.load.load_id for one in here if one.traced}
        there = {part.load_id for one in here for part in one.parts}
        covered = carry_over.orders_covered(old, there)
        there.update(*(one.counted_in for one in here))
        eligible.update(load.order for load in carry_over.lacking(theirs, ledger, old, new, traced=traced))
        if since is not None:
            late = (load for load in theirs if load.order > since)
            eligible.update(load.order for load in late if not load.load_id.startswith(load_ids.OWN))
        found = origins(self.table(old), [one for one in theirs if one.order in eligible and one.order > covered])
        came_from_new = carry_over.load_id(new, "")
        missing = [
            part
            for one in found
            for part in one.parts
            if part.load_id not in there and not (have and part.load_id.startswith(came_from_new))
        ]
        some = {one.load.order for one in missing}
        return missing, [one for one in found if one.load.order in some]

    def _carried(
        self,
        old: FeatureView,
        new: FeatureView,
        inherited: Heritage,
        missing: Sequence[Origin],
        found: Sequence[Origins],
        versions: tuple[int, int | None],
        who: str,
    ) -> tuple[Load | None, Outcome]:
        """Publish rows that are missing, unless others brought some of them since the new table's version.

        Args:
            old: the version that has them.
            new: the version that takes them.
            inherited: which fields it takes.
            missing: which rows.
            found: the loads that have them, with all of their rows.
            versions: those of the old and the new table.
            who: who loads.

        Raises:
            TableConflictError: others did.
        """
        before, version = versions
        table = self.table(old)
        parts = stretches(arrivals(table, [one.load for one in found]), found, missing)
        # Of stretches that begin at the same row only the last has any.
        numbers = {(one.load.order, one.first): number for number, one in enumerate(parts)}
        columns = {
            "load__": pa.array([order for order, _ in numbers], pa.int64()),
            "first__": pa.array([first for _, first in numbers], pa.int64()),
            "wanted__": pa.array([bool(parts[number].origin) for number in numbers.values()], pa.bool_()),
            carry_over.STRETCH: pa.array(list(numbers.values()), pa.int64()),
        }
        with self._connect([old], f'Carrying over the rows of feature view "{old.name}"') as connection:
            connection.register(carry_over.STRETCHES, pa.table(columns))
            query = carry_over.rows_to_carry(old, new, inherited, table.files(before))
            return self._load(
                new,
                connection.sql(query).to_arrow_reader(engine.BATCH_ROWS),
                self._name(old, new, missing[-1].load.order),
                who,
                f"the rows of {storage_id(old)}",
                None,
                checked_as=carry_over.carrying_view(new, inherited),
                carried=_counting_as_in(missing, found, inherited),
                provenance=Provenance(parts),
                into=OptimisticTable(self.table(new).path, version),
            )

    def _name(self, old: FeatureView, new: FeatureView, order: int) -> str:
        """Return an id for a load that brings rows up to an order.

        One that has brought others may have the first, also one that was withdrawn: a restore may bring it back.
        """
        taken = {load.load_id for load in self.ledger(new)}
        name = carry_over.load_id(old, order)
        others = (carry_over.load_id(old, f"{order}.{number}") for number in count(2))
        return name if name not in taken else next(one for one in others if one not in taken)


def _takes_loads(commit: Commit) -> bool:
    return commit.change is not None and commit.change.action in ("restore", "gc")


def _counting_as_in(missing: Sequence[Origin], found: Sequence[Origins], inherited: Heritage) -> tuple[str, ...]:
    """Return the loads that need not come by themselves any more, because all that they say is carried over.

    Not those whose rows were quarantined in part, as the new checks may let them pass; and none if fields were added,
    which only the loads themselves can fill. Nor pushed ones: what is online of them gets the order of their own load.
    """
    if inherited.added:
        return ()
    counted: dict[str, None] = {}
    wanted = {order: {one.load_id for one in parts} for order, parts in _by_order(missing)}
    for one in found:
        if one.load.rows_quarantined or one.load.order not in wanted:
            continue
        if one.load.load_id.startswith(carry_over.PREFIX):
            # An earlier release did not say of which loads its rows were; then all of them are wanted.
            counted |= dict.fromkeys(sorted(one.counted_in & wanted[one.load.order] if one.traced else one.counted_in))
        else:
            counted[one.load.load_id] = None
    return tuple(one for one in counted if not one.startswith(PUSHED))


def _by_order(parts: Iterable[Origin]) -> Iterator[tuple[int, list[Origin]]]:
    for order, those in groupby(parts, key=lambda one: one.load.order):
        yield order, list(those)
