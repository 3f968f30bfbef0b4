"""Rows that were acknowledged when they were pushed, into a table."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from featurestore.definitions import FeatureView
from featurestore.offline.intake.loading import Loading
from featurestore.registry.records import Load

#: How the ids of loads begin whose rows were pushed, and are online since.
PUSHED = "push-"


class Pushed(Loading):
    """Loads of pushed rows."""

    def load_pushed(
        self,
        view: FeatureView,
        rows: pa.RecordBatchReader,
        *,
        load_id: str,
        who: str,
        checked_as: FeatureView,
        pushed_at: datetime,
    ) -> Load | None:
        """Publish rows as one load, and return it; the load of that id, if it is there already or was withdrawn.

        Nothing refuses the load as a whole: its rows were acknowledged one by one. They are not compared with other
        loads, as how many come together says nothing.

        Args:
            view: the view.
            rows: the rows.
            load_id: the same id twice is one load.
            who: who loads.
            checked_as: the view without the checks of loads as a whole; rows that it refuses are kept aside.
            pushed_at: when the last of them was pushed: a clock that was set back since makes no row one of the future.

        Returns:
            None where the rows came into the table otherwise.

        Raises:
            OfflineStoreError: the disk or the table refuses.
        """
        known = self.pushed_load(view, load_id)
        if known is not None:
            return known
        self._load(
            view,
            rows,
            load_id,
            who,
            "pushed rows",
            None,
            checked_as=checked_as,
            now=max(pushed_at, datetime.now(UTC)),
        )
        return self.pushed_load(view, load_id)

    def pushed_load(self, view: FeatureView, load_id: str) -> Load | None:
        """Return a load if it was published, also one that a restore has withdrawn."""
        return next((one for one in reversed(self.ledger(view)) if one.load_id == load_id), None)
