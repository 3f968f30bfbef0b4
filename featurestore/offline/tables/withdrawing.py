"""Single loads taken out of a table, and brought back; whatever else is in it stays."""

from __future__ import annotations

import time
from collections.abc import Collection

from featurestore.definitions import FeatureView
from featurestore.errors import OfflineStoreError, TableConflictError
from featurestore.offline.tables.copying import loads_of, without_loads
from featurestore.offline.tables.delta_log import Commit
from featurestore.offline.tables.restoring import RestoreReport, Restoring
from featurestore.offline.tables.sharing import check_ours
from featurestore.offline.tables.snapshots import discard
from featurestore.offline.tables.table import OfflineTable

_ATTEMPTS = 5


class Withdrawing(Restoring):
    """Withdraw and reinstate."""

    def withdraw(
        self, view: FeatureView, load_ids: Collection[str], *, who: str, reason: str = ""
    ) -> RestoreReport | None:
        """Take loads out of a view's table, by a commit of the kind that a restore makes; they may be ingested again.

        Args:
            view: whose table.
            load_ids: the loads; those that are not in it are passed over, and so are those whose rows came with
                another load.
            who: who does it.
            reason: why; both stand in the commit and in the audit.

        Returns:
            None if none of them is in the table.

        Raises:
            OfflineStoreError: a file cannot be read, or the table refuses.
        """
        check_ours(view)
        table = self.table(view)
        for attempt in range(_ATTEMPTS):
            leaving = {one.load_id for one in self.loads(view)} & set(load_ids)
            if not leaving:
                return None
            try:
                return self._withdraw(view, table, leaving, who, reason)
            except TableConflictError:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise table.conflict()

    def _withdraw(
        self, view: FeatureView, table: OfflineTable, leaving: set[str], who: str, reason: str
    ) -> RestoreReport:
        started = time.monotonic()
        now = table.snapshot()
        *_, present = table.commits(now.version - 1)
        mixed = {one.name: one for one in now.files if not leaving.isdisjoint(loads_of(one.place))}
        made = without_loads(table, [one.place for one in mixed.values()], leaving)
        try:
            table.rewrite(
                sorted(mixed),
                made,
                action="restore",
                # No earlier state of any other load comes back.
                details={"to_version": now.version, "to": present.at.isoformat(), "withdrawn": sorted(leaving)},
                author=who,
                reason=reason,
                data_change=True,
                leaving=sorted(leaving),
                project=self._config.project,
            )
        except BaseException:
            discard(made)
            raise
        self.ledger(view)  # which enters the change
        return RestoreReport(
            view=view.name,
            to_version=now.version,
            at=present.at,
            withdrawn=tuple(sorted(leaving)),
            reinstated=(),
            rows_before=now.rows,
            rows_after=now.rows - sum(one.rows for one in mixed.values()) + sum(one.rows for one in made),
            seconds=time.monotonic() - started,
        )

    def find_withdrawal(self, view: FeatureView, load_ids: Collection[str]) -> Commit | None:
        """Return the restore that took loads out of a view's table last; None if they are in it, or never were.

        Raises:
            OfflineStoreError: it took out others of them than another one, so that no one state has them all.
        """
        table = self.table(view)
        out = {one.load_id for one in self.ledger(view) if one.withdrawn_at is not None} & set(load_ids)
        if not out:
            return None
        for commit in reversed(list(table.commits())):
            withdrawn = set() if commit.change is None else set(commit.change.details.get("withdrawn", ()))
            if withdrawn & out:
                if out <= withdrawn:
                    return commit
                break
        raise OfflineStoreError(
            f'The loads {", ".join(sorted(out))} of feature view "{view.name}" were not withdrawn together.',
            hint=f"Restore to one of them: featurestore restore {view.name} --to {max(out)}",
        )

    def reinstate(
        self, view: FeatureView, load_ids: Collection[str], *, who: str, reason: str = ""
    ) -> RestoreReport | None:
        """Bring loads back into a view's table that a restore took out of it; whatever came since stays.

        Args:
            view: whose table.
            load_ids: the loads; those that are in it, or never were, are passed over.
            who: who does it.
            reason: why.

        Returns:
            None if there was nothing to bring back.

        Raises:
            OfflineStoreError: other loads would come back too, as the table was restored since; files of that time
                are gone; or the table refuses.
        """
        withdrawal = self.find_withdrawal(view, load_ids)
        if withdrawal is None:
            return None
        state = next(one for one in reversed(list(self.table(view).commits())) if one.version < withdrawal.version)
        return self.restore(view, state, who=who, reason=reason, keep=lambda _: True, only=load_ids)
